import { fail } from "@grove/contracts/errors";
import { callServing } from "@grove/core/serving/upstream";
import { Hono } from "hono";
import type { GatewayContext, GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { passedHeaders } from "../../prompt.ts";
import { handleNative } from "./generate.ts";

/** LoRAX's own routes below a deployment. `baseModelOf` reads the deployment's base model from the address. */
export function nativeRoutes(baseModelOf: (c: GatewayContext) => string): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.post("/", (c) => handleNative(c, baseModelOf(c), "root"));
  app.post("/generate", (c) => handleNative(c, baseModelOf(c), "object"));
  app.post("/generate_stream", (c) => handleNative(c, baseModelOf(c), "stream"));
  app.post("/tokenize", (c) => passThrough(c, "/tokenize"));
  app.get("/info", (c) => passThrough(c, "/info"));
  app.get("/health", (c) => passThrough(c, "/health"));
  app.get("/", (c) => passThrough(c, "/health"));
  return app;
}

/** Calls that cost no generation: serving's answer as it is. */
async function passThrough(c: GatewayContext, path: string): Promise<Response> {
  const post = c.req.method === "POST";
  const body: unknown = post ? await c.req.json().catch(() => undefined) : undefined;
  if (post && body === undefined)
    return failureResponse("lorax", fail("malformed_request", "Failed to parse the request body as JSON."));
  const sent = await callServing(c.var.ctx, { method: post ? "POST" : "GET", path, body }, c.req.raw.signal);
  if (!sent.ok) return failureResponse("lorax", sent);
  const headers = passedHeaders(sent.value.headers);
  headers.set("content-type", sent.value.headers.get("content-type") ?? "application/json");
  return new Response(await sent.value.arrayBuffer(), { status: sent.value.status, headers });
}
