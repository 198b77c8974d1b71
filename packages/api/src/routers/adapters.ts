import { adapterId, slug } from "@grove/contracts/names";
import { byId, pageInput } from "@grove/contracts/pages";
import { exportInput, pullInput, pushInput, uploadAdapterInput } from "@grove/contracts/transfers";
import { deleteExport, listExports, requestExport } from "@grove/core/adapters/exports";
import { getAdapter, getRepository, listAdapters, listRepositories } from "@grove/core/adapters/read";
import {
  beginUpload,
  finishUpload,
  getHub,
  getTransfer,
  listTransfers,
  pullAdapter,
  pushAdapter,
} from "@grove/core/adapters/transfers";
import { z } from "zod";
import { listInput, orgProcedure, orThrow, router } from "../trpc.ts";

const ofAdapter = z.strictObject({ adapterId });

export const adaptersRouter = router({
  list: orgProcedure.query(({ ctx }) => listAdapters(ctx.org)),
  get: orgProcedure
    .input(ofAdapter)
    .query(async ({ ctx, input }) => orThrow(await getAdapter(ctx.org, input.adapterId))),
  repositories: router({
    list: orgProcedure.input(listInput).query(({ ctx, input }) => listRepositories(ctx.org, input)),
    get: orgProcedure
      .input(z.strictObject({ name: slug }))
      .query(async ({ ctx, input }) => orThrow(await getRepository(ctx.org, input.name))),
  }),
  exports: router({
    list: orgProcedure
      .input(ofAdapter)
      .query(async ({ ctx, input }) => orThrow(await listExports(ctx.org, input.adapterId))),
    create: orgProcedure
      .input(exportInput)
      .mutation(async ({ ctx, input }) => orThrow(await requestExport(ctx.org, input))),
    delete: orgProcedure
      .input(exportInput)
      .mutation(async ({ ctx, input }) => orThrow(await deleteExport(ctx.org, input))),
  }),
  hub: orgProcedure.query(({ ctx }) => getHub(ctx.org)),
  transfers: router({
    list: orgProcedure
      .input(pageInput.extend({ adapterId: adapterId.optional() }))
      .query(async ({ ctx, input }) => orThrow(await listTransfers(ctx.org, input))),
    get: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await getTransfer(ctx.org, input.id))),
    push: orgProcedure.input(pushInput).mutation(async ({ ctx, input }) => orThrow(await pushAdapter(ctx.org, input))),
    pull: orgProcedure.input(pullInput).mutation(async ({ ctx, input }) => orThrow(await pullAdapter(ctx.org, input))),
    beginUpload: orgProcedure
      .input(uploadAdapterInput)
      .mutation(async ({ ctx, input }) => orThrow(await beginUpload(ctx.org, input))),
    finishUpload: orgProcedure
      .input(byId)
      .mutation(async ({ ctx, input }) => orThrow(await finishUpload(ctx.org, input.id))),
  }),
});
