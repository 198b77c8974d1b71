import type { UsageInput, UsageReport, UsageRow } from "@grove/contracts/usage";
import { usageKinds } from "@grove/contracts/usage";
import { z } from "zod";
import type { OrgCtx } from "../context.ts";
import { prices } from "./prices.ts";

const row = z.object({
  day: z.string(),
  kind: z.enum(usageKinds),
  source: z.string(),
  adapterId: z.string().nullable(),
  requests: z.coerce.number().int(),
  promptTokens: z.coerce.number().int(),
  completionTokens: z.coerce.number().int(),
  trainTokens: z.coerce.number().int(),
  trainSeconds: z.coerce.number(),
  costMicroUsd: z.coerce.bigint(),
}) satisfies z.ZodType<UsageRow>;

/** The last `days` days in UTC, today among them; newest first. The total is of the same days. */
export async function usageReport(ctx: OrgCtx, input: UsageInput): Promise<UsageReport> {
  const now = new Date();
  const since = new Date(
    Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - (input.days - 1)),
  ).toISOString();
  // created_at is a timestamp without zone that holds UTC, so its date is the UTC day
  const found = await ctx.db.$queryRaw`
    SELECT to_char(u.created_at, 'YYYY-MM-DD') AS "day", u.kind AS "kind", u.source AS "source",
           CASE WHEN v.id IS NULL THEN NULL ELSE r.name || '/' || v.version END AS "adapterId",
           count(*)::text AS "requests",
           sum(u.prompt_tokens)::text AS "promptTokens", sum(u.completion_tokens)::text AS "completionTokens",
           sum(u.train_tokens)::text AS "trainTokens", sum(u.train_seconds) AS "trainSeconds",
           sum(u.cost_micro_usd)::text AS "costMicroUsd"
    FROM usage_events u
    LEFT JOIN adapter_versions v ON v.id = u.adapter_version_id
    LEFT JOIN repositories r ON r.id = v.repository_id
    WHERE u.org_id = ${ctx.orgId}::uuid AND u.created_at >= ${since}::timestamp
    GROUP BY 1, 2, 3, 4
    ORDER BY 1 DESC, 2, 3, 4 NULLS FIRST`;
  const rows = z.array(row).parse(found);
  return { rows, totalMicroUsd: rows.reduce((sum, one) => sum + one.costMicroUsd, 0n), prices };
}
