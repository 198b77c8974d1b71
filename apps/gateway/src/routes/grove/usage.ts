import { usageInput } from "@grove/contracts/usage";
import { usageReport } from "@grove/core/usage/report";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, numbersIn, parseInput } from "../../json.ts";

export function usageRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.get("/", async (c) => {
    const input = parseInput(usageInput, numbersIn(c.req.query(), ["days"]));
    return input.ok ? jsonResponse(await usageReport(c.var.ctx, input.value)) : failureResponse("grove", input);
  });
  return app;
}
