import { errorTable } from "@grove/contracts/errors";
import type { Services } from "@grove/core/context";
import { resolvePbase } from "@grove/core/serving/pbase";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { jsonResponse } from "../../json.ts";

/** `GET /v2/repos/{repo}/version/{version}`, in Predibase's words: where a stock LoRAX finds out what an adapter is. */
export function repoRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();
  app.get("/:repo/version/:version", async (c) => {
    const bearer = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
    const found = await resolvePbase(services, bearer, c.req.param("repo"), c.req.param("version"));
    if (!found.ok) return jsonResponse({ error: found.message }, errorTable[found.code].http);
    return jsonResponse({ ...found.value, status: "completed", archived: false });
  });
  return app;
}
