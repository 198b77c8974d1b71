import { byId } from "@grove/contracts/pages";
import { createSweepInput } from "@grove/contracts/sweeps";
import { createSweep, getSweep, quoteSweep } from "@grove/core/jobs/sweeps";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { parseInput, readJson, resultResponse } from "../../json.ts";
import { readKeyed } from "./keyed.ts";
import { smallBody } from "./small-body.ts";

export function sweepRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.use(smallBody);
  app.post("/", async (c) => {
    const input = await readKeyed(c, createSweepInput);
    return input.ok ? resultResponse(await createSweep(c.var.ctx, input.value), 201) : failureResponse("grove", input);
  });
  app.post("/quote", async (c) => {
    const input = await readJson(c, createSweepInput);
    return resultResponse(input.ok ? await quoteSweep(c.var.ctx, input.value) : input);
  });
  app.get("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await getSweep(c.var.ctx, input.value.id) : input);
  });
  return app;
}
