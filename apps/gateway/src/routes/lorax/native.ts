import { fail } from "@grove/contracts/errors";
import { upstreamOf } from "@grove/core/serving/upstreams/choose";
import type { Question } from "@grove/core/serving/upstreams/upstream";
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
  app.post("/tokenize", (c) => tokenize(c, baseModelOf(c)));
  app.post("/embed", () => unable("embeddings"));
  app.post("/classify", () => unable("classification"));
  app.post("/classify_batch", () => unable("classification"));
  app.get("/info", (c) => ask(c, baseModelOf(c), { path: "/info" }));
  app.get("/health", (c) => ask(c, baseModelOf(c), { path: "/health" }));
  app.get("/", (c) => ask(c, baseModelOf(c), { path: "/health" }));
  return app;
}

/** Calls that cost no generation. */
async function ask(c: GatewayContext, baseModel: string, question: Question): Promise<Response> {
  const { ctx } = c.var;
  const answer = await upstreamOf(ctx.settings, baseModel).ask(ctx, question, c.req.raw.signal);
  if (!answer.ok) return failureResponse("lorax", answer);
  const headers = passedHeaders(answer.value.headers);
  headers.set("content-type", answer.value.headers.get("content-type") ?? "application/json");
  return new Response(await answer.value.arrayBuffer(), { status: answer.value.status, headers });
}

async function tokenize(c: GatewayContext, baseModel: string): Promise<Response> {
  const body: unknown = await c.req.json().catch(() => undefined);
  if (body === undefined)
    return failureResponse("lorax", fail("malformed_request", "Failed to parse the request body as JSON."));
  return ask(c, baseModel, { path: "/tokenize", body });
}

/** As LoRAX answers where its base model generates text. */
function unable(what: "embeddings" | "classification"): Response {
  return failureResponse(
    "lorax",
    fail("generation_failed", `Request failed during generation: Server error: Model does not support ${what}`),
  );
}
