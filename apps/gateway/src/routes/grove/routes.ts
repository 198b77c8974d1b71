import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { accountRoutes } from "./account.ts";
import { adapterRoutes } from "./adapters.ts";
import { datasetRoutes } from "./datasets.ts";
import { evalRoutes } from "./evals.ts";
import { jobRoutes } from "./jobs.ts";
import { replayRoutes } from "./replay.ts";
import { sweepRoutes } from "./sweeps.ts";
import { transferRoutes } from "./transfers.ts";
import { usageRoutes } from "./usage.ts";

/** `/api/v1`: every act of the dashboard, for programs. */
export function groveRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.route("/", accountRoutes());
  app.route("/datasets", datasetRoutes(services));
  app.route("/jobs", replayRoutes());
  app.route("/jobs", jobRoutes(services));
  app.route("/sweeps", sweepRoutes());
  app.route("/adapters", adapterRoutes(services));
  app.route("/transfers", transferRoutes());
  app.route("/evals", evalRoutes());
  app.route("/usage", usageRoutes());
  return app;
}
