import { Notice } from "@grove/ui/states";

/** Nothing leaves an installation for a hub unless its operator names one. */
export function HubDisabled() {
  return (
    <Notice tone="info" title="This installation reaches no hub">
      Whoever runs Grove can switch it on: set <code>GROVE_HUB_ENDPOINT</code> in the environment, for example to{" "}
      <code>https://huggingface.co</code>, and start Grove again. Until then nothing is sent to another host.
    </Notice>
  );
}
