import { fail } from "@grove/contracts/errors";
import { authenticateToken } from "@grove/core/accounts/tokens";
import type { Services } from "@grove/core/context";
import { createMiddleware } from "hono/factory";
import type { GatewayEnv } from "./context.ts";
import { type ErrorShape, failureResponse } from "./errors.ts";

/** `Authorization: Bearer pb_…` becomes the organisation that the token belongs to, or the request ends here. */
export function authenticate(services: Services, shape: ErrorShape) {
  return createMiddleware<GatewayEnv>(async (c, next) => {
    const bearer = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
    if (bearer === undefined) {
      return failureResponse(shape, fail("unauthenticated", "Send an API token: Authorization: Bearer pb_…"));
    }
    const ctx = await authenticateToken(services, bearer);
    if (!ctx.ok) return failureResponse(shape, ctx);
    c.set("ctx", ctx.value);
    await next();
  });
}

/** The tenant in the path must be the token's own. */
export function requireTenant(shape: ErrorShape) {
  return createMiddleware<GatewayEnv>(async (c, next) => {
    const tenant = c.req.param("tenant");
    if (tenant !== c.var.ctx.orgSlug) {
      return failureResponse(
        shape,
        fail("forbidden", `This API token is of the organisation ${c.var.ctx.orgSlug}, not of the one in the address.`),
      );
    }
    await next();
  });
}
