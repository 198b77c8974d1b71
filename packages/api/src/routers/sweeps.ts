import { byId } from "@grove/contracts/pages";
import { createSweepInput } from "@grove/contracts/sweeps";
import { createSweep, getSweep, quoteSweep } from "@grove/core/jobs/sweeps";
import { orgProcedure, orThrow, router } from "../trpc.ts";

export const sweepsRouter = router({
  get: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await getSweep(ctx.org, input.id))),
  quote: orgProcedure
    .input(createSweepInput)
    .query(async ({ ctx, input }) => orThrow(await quoteSweep(ctx.org, input))),
  create: orgProcedure
    .input(createSweepInput)
    .mutation(async ({ ctx, input }) => orThrow(await createSweep(ctx.org, input))),
});
