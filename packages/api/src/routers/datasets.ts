import { previewTemplateInput, uploadDatasetInput } from "@grove/contracts/datasets";
import { byId } from "@grove/contracts/pages";
import { previewTemplate } from "@grove/core/datasets/preview";
import { deleteDataset, getDataset, listDatasets } from "@grove/core/datasets/read";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import { z } from "zod";
import { listInput, orgProcedure, orThrow, router } from "../trpc.ts";

/** Small files as text, for scripts that speak tRPC; files of any size go through the upload route as a stream. */
const createFromTextInput = uploadDatasetInput.extend({ text: z.string().min(1, "The file is empty.").max(4_000_000) });

async function* utf8(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

export const datasetsRouter = router({
  list: orgProcedure.input(listInput).query(({ ctx, input }) => listDatasets(ctx.org, input)),
  get: orgProcedure.input(byId).query(async ({ ctx, input }) => orThrow(await getDataset(ctx.org, input.id))),
  createFromText: orgProcedure
    .input(createFromTextInput)
    .mutation(async ({ ctx, input: { text, ...input } }) => orThrow(await uploadDataset(ctx.org, input, utf8(text)))),
  delete: orgProcedure.input(byId).mutation(async ({ ctx, input }) => orThrow(await deleteDataset(ctx.org, input.id))),
  preview: orgProcedure
    .input(previewTemplateInput)
    .query(async ({ ctx, input }) => orThrow(await previewTemplate(ctx.org, input))),
});
