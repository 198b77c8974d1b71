import { randomUUID } from "node:crypto";
import { fail } from "@grove/contracts/errors";
import type { Services } from "@grove/core/context";
import { adapterBucket } from "@grove/core/serving/pbase";
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { authenticate } from "./auth.ts";
import type { GatewayEnv } from "./context.ts";
import { type ErrorShape, failureResponse } from "./errors.ts";
import { groveRoutes } from "./routes/grove/routes.ts";
import { healthRoutes } from "./routes/health.ts";
import { internalAdapterRoutes } from "./routes/internal/adapters.ts";
import { fileRoutes } from "./routes/openai/files.ts";
import { fineTuningRoutes } from "./routes/openai/fine-tuning.ts";
import { openAiRoutes } from "./routes/openai/routes.ts";
import { bucketRoutes } from "./routes/pbase/bucket.ts";
import { repoRoutes } from "./routes/pbase/repos.ts";
import { deploymentRoutes } from "./routes/predibase/deployments.ts";

const MAX_PROMPT_BYTES = 16 * 1024 * 1024; // serving's own limit
const promptLimit = (shape: ErrorShape) =>
  bodyLimit({
    maxSize: MAX_PROMPT_BYTES,
    onError: () => failureResponse(shape, fail("upload_too_large", "The body of a prompt is at most 16 MiB.")),
  });

export type AppOptions = { onError: (error: unknown, requestId: string) => void };

export function createApp(services: Services, options: AppOptions): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.use(async (c, next) => {
    c.set("requestId", randomUUID());
    await next();
    c.res.headers.set("x-request-id", c.var.requestId);
  });
  // tokens travel in a header and never in a cookie, so another page's script gains nothing by asking
  app.use(cors({ origin: "*", allowMethods: ["GET", "POST", "PUT", "DELETE"], exposeHeaders: ["*"] }));
  app.route("/", healthRoutes(services));
  for (const family of ["/v1/files", "/v1/fine_tuning/jobs"]) {
    app.use(family, authenticate(services, "openai"));
    app.use(`${family}/*`, authenticate(services, "openai"));
  }
  app.route("/v1/files", fileRoutes()); // before the limit of a prompt's size
  app.route("/v1/fine_tuning/jobs", fineTuningRoutes());
  app.use("/v1/*", promptLimit("openai"), authenticate(services, "openai"));
  app.route(
    "/v1",
    openAiRoutes(() => services.settings.baseModel.id),
  );
  app.use("/:tenant/deployments/*", promptLimit("lorax"));
  app.route("/:tenant/deployments/v2/llms/:model", deploymentRoutes(services));
  app.use("/api/v1/*", authenticate(services, "grove"));
  app.route("/api/v1", groveRoutes(services));
  app.route("/v2/repos", repoRoutes(services));
  app.route(`/${adapterBucket}`, bucketRoutes(services));
  app.route("/internal/adapters", internalAdapterRoutes(services));
  app.notFound((c) =>
    failureResponse("grove", fail("route_not_found", `There is no ${c.req.method} ${c.req.path.slice(0, 200)} here.`)),
  );
  app.onError((error, c) => {
    if (!c.req.raw.signal.aborted) options.onError(error, c.var.requestId);
    return failureResponse(
      "grove",
      fail("internal", `Something went wrong on our side. Quote this request: ${c.var.requestId}`),
    );
  });
  return app;
}
