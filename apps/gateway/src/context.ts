import type { OrgCtx, Services } from "@grove/core/context";
import type { Context } from "hono";

/** Every request has an id; behind `authenticate` it has an organisation too. */
export type GatewayEnv = { Variables: { requestId: string; ctx: OrgCtx } };
export type GatewayContext = Context<GatewayEnv>;
export type { Services };
