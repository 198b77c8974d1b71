import { createEvalInput, evalRowsInput } from "@grove/contracts/evals";
import { byId } from "@grove/contracts/pages";
import { cancelEval } from "@grove/core/evals/cancel-eval";
import { createEval } from "@grove/core/evals/create-eval";
import { getEval, listEvalRows, listEvals } from "@grove/core/evals/read";
import { listInput, orgProcedure, orThrow, router } from "../trpc.ts";

export const evalsRouter = router({
  list: orgProcedure.input(listInput).query(({ ctx, input }) => listEvals(ctx.org, input)),
  get: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await getEval(ctx.org, input.id))),
  rows: orgProcedure.input(evalRowsInput).query(({ ctx, input }) => listEvalRows(ctx.org, input)),
  create: orgProcedure
    .input(createEvalInput)
    .mutation(async ({ ctx, input }) => orThrow(await createEval(ctx.org, input))),
  cancel: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await cancelEval(ctx.org, input.id))),
});
