import { adapterId, slug } from "@grove/contracts/names";
import { getAdapter, getRepository, listAdapters, listRepositories } from "@grove/core/adapters/read";
import { z } from "zod";
import { listInput, orgProcedure, orThrow, router } from "../trpc.ts";

export const adaptersRouter = router({
  list: orgProcedure.query(({ ctx }) => listAdapters(ctx.org)),
  get: orgProcedure
    .input(z.strictObject({ adapterId }))
    .query(async ({ ctx, input }) => orThrow(await getAdapter(ctx.org, input.adapterId))),
  repositories: router({
    list: orgProcedure.input(listInput).query(({ ctx, input }) => listRepositories(ctx.org, input)),
    get: orgProcedure
      .input(z.strictObject({ name: slug }))
      .query(async ({ ctx, input }) => orThrow(await getRepository(ctx.org, input.name))),
  }),
});
