import { fail, ok, type Result } from "@grove/contracts/errors";
import type { EvalRowsInput, EvalRowView, EvalView } from "@grove/contracts/evals";
import type { Page, PageInput } from "@grove/contracts/pages";
import type { OrgCtx } from "../context.ts";
import { toPage } from "../pages.ts";
import { costsOf, evalInclude, toEvalRowView, toEvalView } from "./view.ts";

export async function listEvals(ctx: OrgCtx, input: PageInput): Promise<Page<EvalView>> {
  const rows = await ctx.db.eval.findMany({
    where: { orgId: ctx.orgId, ...(input.cursor ? { id: { lt: input.cursor } } : {}) },
    include: evalInclude,
    orderBy: { id: "desc" },
    take: input.limit + 1,
  });
  const costs = await costsOf(
    ctx,
    rows.map((row) => row.id),
  );
  return toPage(rows, input.limit, (row) => toEvalView(row, costs.get(row.id) ?? 0n));
}

export async function getEval(ctx: OrgCtx, id: string): Promise<Result<EvalView, "eval_not_found">> {
  const row = await ctx.db.eval.findFirst({ where: { id, orgId: ctx.orgId }, include: evalInclude });
  if (!row) return fail("eval_not_found", "There is no such evaluation in this organisation.");
  const costs = await costsOf(ctx, [id]);
  return ok(toEvalView(row, costs.get(id) ?? 0n));
}

/** Where the adapter did worst comes first; among equals, where the base did better. */
export async function listEvalRows(
  ctx: OrgCtx,
  input: EvalRowsInput,
): Promise<{ items: EvalRowView[]; total: number }> {
  const where = { evalId: input.evalId, eval: { orgId: ctx.orgId } };
  const [rows, total] = await Promise.all([
    ctx.db.evalRow.findMany({
      where,
      orderBy:
        input.order === "worst"
          ? [{ adapterScore: "asc" }, { baseScore: "desc" }, { index: "asc" }]
          : [{ index: "asc" }],
      skip: input.offset,
      take: input.limit,
    }),
    ctx.db.evalRow.count({ where }),
  ]);
  return { items: rows.map(toEvalRowView), total };
}
