import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Hyperparameters, JobConfig } from "@grove/contracts/jobs";
import { findServable, type Servable } from "../adapters/servable.ts";
import type { OrgCtx } from "../context.ts";

/**
 * The adapter that a job goes on from, be it a version or a checkpoint; null: it starts a fresh one. It must have the form
 * that the job asks for, or the adapter would not begin where the other one stood.
 */
export async function findStart(
  ctx: Pick<OrgCtx, "db" | "orgId">,
  config: JobConfig,
): Promise<Result<Servable | null, "adapter_not_found" | "config_invalid">> {
  const id = config.hyperparameters.continueFrom;
  if (id === null) return ok(null);
  const found = await findServable(ctx, id);
  if (!found.ok || found.value === null)
    return fail(
      "adapter_not_found",
      `There is no adapter "${id}" in this organisation to go on from. Write repository/version, or the name of a checkpoint that is still kept.`,
      { field: "config.hyperparameters.continueFrom" },
    );
  const start = found.value.config;
  if (start.baseModel !== config.baseModel)
    return fail(
      "config_invalid",
      `The adapter ${id} belongs to ${start.baseModel}, and this job trains on ${config.baseModel}.`,
      { field: "config.hyperparameters.continueFrom" },
    );
  const differing = traits.find(({ of }) => of(start.hyperparameters) !== of(config.hyperparameters));
  if (differing === undefined) return found;
  const { knob, name, of } = differing;
  return fail(
    "config_invalid",
    `A job that goes on from ${id} keeps its ${name}: set it to ${of(start.hyperparameters)}, not ${of(config.hyperparameters)}.`,
    { field: `config.hyperparameters.${knob}` },
  );
}

type Trait = { knob: keyof Hyperparameters; name: string; of: (knobs: Hyperparameters) => number | string };
const traits: Trait[] = [
  { knob: "rank", name: "rank", of: ({ rank }) => rank },
  { knob: "useDora", name: "kind (DoRA or not)", of: ({ useDora }) => String(useDora) },
  { knob: "useRslora", name: "scale (rank-stabilized or not)", of: ({ useRslora }) => String(useRslora) },
  { knob: "alpha", name: "alpha", of: ({ alpha, rank }) => alpha ?? 2 * rank },
  {
    knob: "targetModules",
    name: "layers",
    of: ({ targetModules }) => [...new Set(targetModules)].sort().join(", "),
  },
];
