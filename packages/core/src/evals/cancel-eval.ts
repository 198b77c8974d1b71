import type { Result } from "@grove/contracts/errors";
import type { EvalView } from "@grove/contracts/evals";
import type { OrgCtx } from "../context.ts";
import { getEval } from "./read.ts";

/** Stops a waiting or running evaluation within seconds; its rows stay. One that has ended stays as it ended. */
export async function cancelEval(ctx: OrgCtx, id: string): Promise<Result<EvalView, "eval_not_found">> {
  await ctx.db.eval.updateMany({
    where: { id, orgId: ctx.orgId, status: { in: ["queued", "running"] } },
    data: { status: "cancelled", finishedAt: new Date() },
  });
  return getEval(ctx, id);
}
