import { isServed, type JobConfig } from "@grove/contracts/jobs";
import { Notice } from "@grove/ui/states";

/** On every page of an adapter that the engine does not serve; nothing for the others. */
export function NotServedNotice({ config }: { config: JobConfig }) {
  if (isServed(config)) return null;
  return (
    <Notice tone="info" title="A DoRA adapter: for download and merging">
      It cannot be served from the shared base, so it has no playground and no evaluation here. Download it for PEFT, or
      take it merged into its base.
    </Notice>
  );
}
