import { createTokenInput } from "@grove/contracts/accounts";
import { byId } from "@grove/contracts/pages";
import { createToken, listTokens, revokeToken } from "@grove/core/accounts/tokens";
import { listBaseModels } from "@grove/core/serving/base-models";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, parseInput, readJson, resultResponse } from "../../json.ts";

/** `/organisation`, `/base-models`, `/tokens`. */
export function accountRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.get("/organisation", (c) => jsonResponse({ id: c.var.ctx.orgId, slug: c.var.ctx.orgSlug }));
  app.get("/base-models", async (c) => jsonResponse({ items: await listBaseModels(c.var.ctx) }));
  app.get("/tokens", async (c) => jsonResponse({ items: await listTokens(c.var.ctx) }));
  app.post("/tokens", async (c) => {
    const input = await readJson(c, createTokenInput);
    return input.ok ? resultResponse(await createToken(c.var.ctx, input.value), 201) : failureResponse("grove", input);
  });
  app.delete("/tokens/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return input.ok ? resultResponse(await revokeToken(c.var.ctx, input.value.id)) : failureResponse("grove", input);
  });
  return app;
}
