import { fail } from "@grove/contracts/errors";
import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import { createMiddleware } from "hono/factory";
import { authenticate, requireTenant } from "../../auth.ts";
import type { GatewayContext, GatewayEnv } from "../../context.ts";
import { type ErrorShape, failureResponse } from "../../errors.ts";
import { nativeRoutes } from "../lorax/native.ts";
import { openAiRoutes } from "../openai/routes.ts";

/** `/{tenant}/deployments/v2/llms/{model}`: LoRAX's routes, and OpenAI's below `/v1`. */
export function deploymentRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  const base = services.settings.baseModel.id;
  const baseModelOf = (c: GatewayContext) =>
    matchesModel(c.req.param("model") ?? "", base) ? base : (c.req.param("model") ?? "");
  app.use(
    "/v1/*",
    authenticate(services, "openai"),
    requireTenant("openai"),
    requireModel("openai", baseModelOf, base),
  );
  app.route("/v1", openAiRoutes(baseModelOf));
  app.use("*", authenticate(services, "lorax"), requireTenant("lorax"), requireModel("lorax", baseModelOf, base));
  app.route("/", nativeRoutes(baseModelOf));
  return app;
}

function requireModel(shape: ErrorShape, baseModelOf: (c: GatewayContext) => string, base: string) {
  return createMiddleware<GatewayEnv>(async (c, next) => {
    if (baseModelOf(c) !== base) {
      return failureResponse(
        shape,
        fail("base_model_not_found", `No deployment of that name: the base model served here is ${base}.`),
      );
    }
    await next();
  });
}

/** In an address `HuggingFaceTB/SmolLM2-135M-Instruct` is written `smollm2-135m-instruct`, as Predibase writes its deployments. */
function matchesModel(name: string, base: string): boolean {
  return name === base || name.toLowerCase() === (base.split("/").at(-1) ?? base).toLowerCase();
}
