import { playgroundInput } from "@grove/contracts/serving";
import { listBaseModels } from "@grove/core/serving/base-models";
import { runPlayground } from "@grove/core/serving/playground";
import { listServedAdapters } from "@grove/core/serving/served-adapters";
import { orgProcedure, orThrow, router } from "../trpc.ts";

export const servingRouter = router({
  baseModels: orgProcedure.query(({ ctx }) => listBaseModels(ctx.services)),
  adapters: orgProcedure.query(async ({ ctx }) => orThrow(await listServedAdapters(ctx.org))),
  /** A mutation, so that nothing asks (and pays) twice: an event source would reconnect and run the prompt again. */
  playground: orgProcedure.input(playgroundInput).mutation(async function* ({ ctx, input, signal }) {
    yield* runPlayground(ctx.org, input, signal ?? new AbortController().signal);
  }),
});
