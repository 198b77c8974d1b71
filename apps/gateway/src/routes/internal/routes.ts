import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";

/** What serving asks of the gateway (contracts README §3). */
export function internalRoutes(_services: Services): Hono<GatewayEnv> {
  return new Hono<GatewayEnv>();
}
