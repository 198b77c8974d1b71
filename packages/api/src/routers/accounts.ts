import { createTokenInput, signUpInput } from "@grove/contracts/accounts";
import { byId } from "@grove/contracts/pages";
import { isFirstRun, signUp } from "@grove/core/accounts/sign-up";
import { createToken, listTokens, revokeToken } from "@grove/core/accounts/tokens";
import { orgProcedure, orThrow, publicProcedure, router } from "../trpc.ts";

export const accountsRouter = router({
  isFirstRun: publicProcedure.query(({ ctx }) => isFirstRun(ctx.services)),
  signUp: publicProcedure
    .input(signUpInput)
    .mutation(async ({ ctx, input }) => orThrow(await signUp(ctx.services, input))),
  tokens: router({
    list: orgProcedure.query(({ ctx }) => listTokens(ctx.org)),
    create: orgProcedure
      .input(createTokenInput)
      .mutation(async ({ ctx, input }) => orThrow(await createToken(ctx.org, input))),
    revoke: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await revokeToken(ctx.org, input.id))),
  }),
});
