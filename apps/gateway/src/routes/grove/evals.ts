import { createEvalInput, evalRowsInput } from "@grove/contracts/evals";
import { byId, pageInput } from "@grove/contracts/pages";
import { cancelEval } from "@grove/core/evals/cancel-eval";
import { createEval } from "@grove/core/evals/create-eval";
import { getEval, listEvalRows, listEvals } from "@grove/core/evals/read";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, numbersIn, parseInput, readJson, resultResponse } from "../../json.ts";

export function evalRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.post("/", async (c) => {
    const input = await readJson(c, createEvalInput);
    return input.ok ? resultResponse(await createEval(c.var.ctx, input.value), 201) : failureResponse("grove", input);
  });
  app.get("/", async (c) => {
    const input = parseInput(pageInput, numbersIn(c.req.query(), ["limit"]));
    return input.ok ? jsonResponse(await listEvals(c.var.ctx, input.value)) : failureResponse("grove", input);
  });
  app.get("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return input.ok ? resultResponse(await getEval(c.var.ctx, input.value.id)) : failureResponse("grove", input);
  });
  app.get("/:id/rows", async (c) => {
    const query = numbersIn(c.req.query(), ["offset", "limit"]);
    const input = parseInput(evalRowsInput, { ...query, evalId: c.req.param("id") });
    return input.ok ? jsonResponse(await listEvalRows(c.var.ctx, input.value)) : failureResponse("grove", input);
  });
  app.post("/:id/cancel", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return input.ok ? resultResponse(await cancelEval(c.var.ctx, input.value.id)) : failureResponse("grove", input);
  });
  return app;
}
