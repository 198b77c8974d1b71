import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Hyperparameters, JobConfig } from "@grove/contracts/jobs";
import { findServable } from "../../adapters/servable.ts";
import type { OrgCtx } from "../../context.ts";

/** An adapter that a configuration from elsewhere goes on from. */
export type Start = { id: string; config: JobConfig };

/** By its name in the caller's words, `field`. Null where none is named. */
export async function readStart(
  ctx: OrgCtx,
  id: string | null,
  field: string,
): Promise<Result<Start | null, "adapter_not_found">> {
  if (id === null) return ok(null);
  const found = await findServable(ctx, id);
  if (found.ok && found.value !== null) return ok({ id, config: found.value.config });
  return fail("adapter_not_found", `There is no adapter "${id}" in this organisation to go on from.`, { field });
}

/** What the new adapter shares with the one that it goes on from, where the caller says nothing else. */
export function knobsOf(start: Start | null): Partial<Hyperparameters> {
  if (start === null) return {};
  const { rank, alpha, targetModules, useRslora, useDora } = start.config.hyperparameters;
  return { continueFrom: start.id, rank, alpha, targetModules, useRslora, useDora };
}
