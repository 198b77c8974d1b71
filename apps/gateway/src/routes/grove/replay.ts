import { Readable } from "node:stream";
import { replaySplits } from "@grove/contracts/replay";
import { getReplay, openReplayRows } from "@grove/core/jobs/replay";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { parseInput, resultResponse } from "../../json.ts";

const ofJob = z.strictObject({ id: z.uuid() });
const rowsOf = ofJob.extend({ split: z.enum(replaySplits) });

/** `/jobs/{id}/replay`: what `grove replay` needs to run a finished job again. */
export function replayRoutes(): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.get("/:id/replay", async (c) => {
    const input = parseInput(ofJob, c.req.param());
    return resultResponse(input.ok ? await getReplay(c.var.ctx, input.value.id) : input);
  });
  app.get("/:id/replay/:split", async (c) => {
    const input = parseInput(rowsOf, c.req.param());
    if (!input.ok) return failureResponse("grove", input);
    const rows = await openReplayRows(c.var.ctx, input.value.id, input.value.split);
    if (!rows.ok) return failureResponse("grove", rows);
    c.header("content-type", "application/jsonl");
    return stream(c, (sink) => sink.pipe(Readable.toWeb(rows.value)));
  });
  return app;
}
