import { Readable } from "node:stream";
import { zipAdapter } from "@grove/core/adapters/files";
import { getAdapter, getRepository, listAdapters } from "@grove/core/adapters/read";
import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, resultResponse } from "../../json.ts";

/** An adapter's id has a slash in it, so it is two segments of the path. */
export function adapterRoutes(_services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.get("/", async (c) => jsonResponse({ items: await listAdapters(c.var.ctx) }));
  app.get("/:repository", async (c) => resultResponse(await getRepository(c.var.ctx, c.req.param("repository"))));
  app.get("/:repository/:version", async (c) =>
    resultResponse(await getAdapter(c.var.ctx, `${c.req.param("repository")}/${c.req.param("version")}`)),
  );
  app.get("/:repository/:version/download", async (c) => {
    const zip = await zipAdapter(c.var.ctx, `${c.req.param("repository")}/${c.req.param("version")}`);
    if (!zip.ok) return failureResponse("grove", zip);
    c.header("content-type", "application/zip");
    c.header("content-disposition", `attachment; filename="${zip.value.fileName}"`);
    return stream(c, (sink) => sink.pipe(Readable.toWeb(Readable.from(zip.value.stream))));
  });
  return app;
}
