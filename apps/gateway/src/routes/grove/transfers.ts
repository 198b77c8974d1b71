import { adapterFileNames } from "@grove/contracts/adapters";
import { fail } from "@grove/contracts/errors";
import { adapterId } from "@grove/contracts/names";
import { byId, pageInput } from "@grove/contracts/pages";
import { pullInput, pushInput, uploadAdapterInput } from "@grove/contracts/transfers";
import {
  beginUpload,
  finishUpload,
  getHub,
  getTransfer,
  listTransfers,
  pullAdapter,
  pushAdapter,
  putUploadFile,
} from "@grove/core/adapters/transfers";
import { Hono } from "hono";
import { z } from "zod";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse, numbersIn, parseInput, readJson, resultResponse } from "../../json.ts";
import { readKeyed } from "./keyed.ts";
import { smallBody } from "./small-body.ts";

const listQuery = pageInput.extend({ adapterId: adapterId.optional() });
const filePath = z.strictObject({ id: z.uuid(), name: z.enum(adapterFileNames) });

/** `/transfers`: adapters to a hub (`push`), from one (`pull`), and folders that are sent file by file (`upload`). */
export function transferRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.get("/", async (c) => {
    const input = parseInput(listQuery, numbersIn(c.req.query(), ["limit"]));
    return resultResponse(input.ok ? await listTransfers(c.var.ctx, input.value) : input);
  });
  app.get("/hub", (c) => jsonResponse(getHub(c.var.ctx)));
  app.post("/push", smallBody, async (c) => {
    const input = await readKeyed(c, pushInput);
    return resultResponse(input.ok ? await pushAdapter(c.var.ctx, input.value) : input, 202);
  });
  app.post("/pull", smallBody, async (c) => {
    const input = await readKeyed(c, pullInput);
    return resultResponse(input.ok ? await pullAdapter(c.var.ctx, input.value) : input, 202);
  });
  app.post("/upload", smallBody, async (c) => {
    const input = await readJson(c, uploadAdapterInput);
    return resultResponse(input.ok ? await beginUpload(c.var.ctx, input.value) : input, 201);
  });
  app.put("/upload/:id/:name", async (c) => {
    const input = parseInput(filePath, c.req.param());
    if (!input.ok) return failureResponse("grove", input);
    if (c.req.raw.body === null)
      return failureResponse("grove", fail("malformed_request", "Send the file as the body."));
    const stored = await putUploadFile(c.var.ctx, input.value, c.req.raw.body);
    const response = resultResponse(stored);
    if (!stored.ok) response.headers.set("connection", "close"); // the rest of the body is not read
    return response;
  });
  app.post("/upload/:id/finish", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await finishUpload(c.var.ctx, input.value.id) : input, 202);
  });
  app.get("/:id", async (c) => {
    const input = parseInput(byId, { id: c.req.param("id") });
    return resultResponse(input.ok ? await getTransfer(c.var.ctx, input.value.id) : input);
  });
  return app;
}
