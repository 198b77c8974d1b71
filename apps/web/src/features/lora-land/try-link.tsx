import { isServed, type JobConfig } from "@grove/contracts/jobs";
import Link from "next/link";
import type { ReactNode } from "react";

type TryLinkProps = { adapterId: string; config: JobConfig; className: string; children: ReactNode };

/** To the playground; nothing for an adapter that the engine does not serve. */
export function TryLink({ adapterId, config, className, children }: TryLinkProps) {
  if (!isServed(config)) return null;
  return (
    <Link href={`/lora-land?adapter=${encodeURIComponent(adapterId)}`} className={className}>
      {children}
    </Link>
  );
}
