import { type DatasetView, uploadDatasetInput } from "@grove/contracts/datasets";
import { fail } from "@grove/contracts/errors";
import { deleteDataset, getDataset, listDatasets } from "@grove/core/datasets/read";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, parseInput } from "../../json.ts";
import { receive, withoutExtension } from "../grove/upload.ts";
import { listOf, listQuery, seconds, uuidOf } from "./pages.ts";

const noFile = fail("dataset_not_found", "There is no such file in this organisation.", { field: "file_id" });

/** OpenAI's files with the purpose `fine-tune`: our data sets under another name. */
export function fileRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.post("/", (c) =>
    receive(
      c,
      ({ purpose, fileName = "" }) =>
        purpose === "fine-tune"
          ? parseInput(uploadDatasetInput, { name: withoutExtension(fileName), fileName })
          : fail("invalid_input", 'Files are taken with the purpose "fine-tune", sent before the file.', {
              field: "purpose",
            }),
      (result) => (result.ok ? jsonResponse(toFile(result.value)) : failureResponse("openai", result)),
    ),
  );
  app.get("/", async (c) => {
    const query = parseInput(listQuery, c.req.query());
    if (!query.ok) return failureResponse("openai", query);
    const { after, limit } = query.value;
    const cursor = after === undefined ? undefined : (uuidOf("file", after) ?? undefined);
    const page = await listDatasets(c.var.ctx, { cursor, limit });
    return jsonResponse(listOf(page.items.map(toFile), page.nextCursor !== null));
  });
  app.get("/:id", async (c) => {
    const id = uuidOf("file", c.req.param("id"));
    const dataset = id === null ? noFile : await getDataset(c.var.ctx, id);
    return dataset.ok ? jsonResponse(toFile(dataset.value)) : failureResponse("openai", noFile);
  });
  app.delete("/:id", async (c) => {
    const id = uuidOf("file", c.req.param("id"));
    const deleted = id === null ? noFile : await deleteDataset(c.var.ctx, id);
    if (!deleted.ok) return failureResponse("openai", deleted);
    return jsonResponse({ id: c.req.param("id"), object: "file", deleted: true });
  });
  return app;
}

const states = { profiling: "uploaded", ready: "processed", failed: "error" } as const;

function toFile(dataset: DatasetView) {
  return {
    id: `file-${dataset.id}`,
    object: "file",
    bytes: dataset.bytes,
    created_at: seconds(dataset.createdAt),
    filename: dataset.fileName,
    purpose: "fine-tune",
    status: states[dataset.status],
    status_details: dataset.error?.message ?? null,
  };
}
