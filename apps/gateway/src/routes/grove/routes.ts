import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { accountRoutes } from "./account.ts";
import { evalRoutes } from "./evals.ts";
import { usageRoutes } from "./usage.ts";

/** `/api/v1`: every act of the dashboard, for programs. */
export function groveRoutes(_services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.route("/", accountRoutes());
  app.route("/evals", evalRoutes());
  app.route("/usage", usageRoutes());
  return app;
}
