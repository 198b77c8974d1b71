import type { Services } from "@grove/core/context";
import { upstreamOf } from "@grove/core/serving/upstreams/choose";
import { Hono } from "hono";
import type { GatewayEnv } from "../context.ts";
import { jsonResponse } from "../json.ts";

const PROBE_TIMEOUT_MS = 2_000;

/** `/health`: this process lives. `/ready`: it can do its work; a model server that restarts is told, and is waited for by each prompt. */
export function healthRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();
  app.get("/health", () => jsonResponse({ status: "ok" }));
  app.get("/ready", async () => {
    const [database, serving] = await Promise.all([databaseAnswers(services), servingAnswers(services)]);
    return jsonResponse({ ready: database, database, serving }, database ? 200 : 503);
  });
  return app;
}

async function databaseAnswers({ db }: Services): Promise<boolean> {
  return db.$queryRaw`SELECT 1`.then(
    () => true,
    () => false,
  );
}

async function servingAnswers({ settings }: Services): Promise<boolean> {
  return upstreamOf(settings, settings.baseModel.id).healthy(AbortSignal.timeout(PROBE_TIMEOUT_MS));
}
