import { Readable } from "node:stream";
import { adapterFileNames } from "@grove/contracts/adapters";
import { downloadFormats, exportInput } from "@grove/contracts/transfers";
import { downloadAdapter, readAdapterFile } from "@grove/core/adapters/download";
import { deleteExport, listExports, requestExport } from "@grove/core/adapters/exports";
import { getAdapter, getRepository, listAdapters } from "@grove/core/adapters/read";
import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, parseInput, readJson, resultResponse } from "../../json.ts";
import { smallBody } from "./small-body.ts";

const downloadQuery = z.strictObject({ format: z.enum(downloadFormats).default("peft") });

/** An adapter's id has a slash in it, so it is two segments of the path. */
export function adapterRoutes(_services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  const idOf = (of: { repository: string; version: string }): string => `${of.repository}/${of.version}`;
  app.get("/", async (c) => jsonResponse({ items: await listAdapters(c.var.ctx) }));
  app.get("/:repository", async (c) => resultResponse(await getRepository(c.var.ctx, c.req.param("repository"))));
  app.get("/:repository/:version", async (c) => resultResponse(await getAdapter(c.var.ctx, idOf(c.req.param()))));
  app.get("/:repository/:version/download", async (c) => {
    const query = parseInput(downloadQuery, c.req.query());
    if (!query.ok) return failureResponse("grove", query);
    const file = await downloadAdapter(c.var.ctx, idOf(c.req.param()), query.value.format);
    if (!file.ok) return failureResponse("grove", file);
    const { contentType, bytes, fileName, stream: source } = file.value;
    c.header("content-type", contentType);
    c.header("content-length", String(bytes));
    c.header("content-disposition", `attachment; filename="${fileName}"`);
    return stream(c, (sink) => sink.pipe(Readable.toWeb(source)));
  });
  app.get("/:repository/:version/files/:name", async (c) => {
    const { name, ...of } = c.req.param();
    const input = parseInput(z.strictObject({ name: z.enum(adapterFileNames) }), { name });
    const file = input.ok ? await readAdapterFile(c.var.ctx, idOf(of), input.value.name) : input;
    if (!file.ok) return failureResponse("grove", file);
    c.header("content-type", name.endsWith(".safetensors") ? "application/octet-stream" : "text/plain; charset=utf-8");
    c.header("content-length", String(file.value.bytes));
    return stream(c, (sink) => sink.pipe(Readable.toWeb(file.value.stream)));
  });
  app.get("/:repository/:version/exports", async (c) => {
    const list = await listExports(c.var.ctx, idOf(c.req.param()));
    return list.ok ? jsonResponse({ items: list.value }) : failureResponse("grove", list);
  });
  app.post("/:repository/:version/exports", smallBody, async (c) => {
    const input = await readJson(c, exportInput.omit({ adapterId: true }));
    if (!input.ok) return failureResponse("grove", input);
    return resultResponse(await requestExport(c.var.ctx, { adapterId: idOf(c.req.param()), ...input.value }), 202);
  });
  app.delete("/:repository/:version/exports/:kind", async (c) => {
    const input = parseInput(exportInput, { adapterId: idOf(c.req.param()), kind: c.req.param("kind") });
    return resultResponse(input.ok ? await deleteExport(c.var.ctx, input.value) : input);
  });
  return app;
}
