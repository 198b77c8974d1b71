import { previewTemplateInput } from "@grove/contracts/datasets";
import { byId, pageInput } from "@grove/contracts/pages";
import type { Services } from "@grove/core/context";
import { previewTemplate } from "@grove/core/datasets/preview";
import { deleteDataset, getDataset, listDatasets } from "@grove/core/datasets/read";
import { Hono } from "hono";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, numbersIn, parseInput, readJson, resultResponse } from "../../json.ts";
import { smallBody } from "./small-body.ts";
import { receiveDataset } from "./upload.ts";

export function datasetRoutes(_services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.post("/", (c) => receiveDataset(c));
  app.get("/", async (c) => {
    const input = parseInput(pageInput, numbersIn(c.req.query(), ["limit"]));
    return input.ok ? jsonResponse(await listDatasets(c.var.ctx, input.value)) : failureResponse("grove", input);
  });
  app.post("/preview", smallBody, async (c) => {
    const input = await readJson(c, previewTemplateInput);
    return resultResponse(input.ok ? await previewTemplate(c.var.ctx, input.value) : input);
  });
  app.get("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await getDataset(c.var.ctx, input.value.id) : input);
  });
  app.delete("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await deleteDataset(c.var.ctx, input.value.id) : input);
  });
  return app;
}
