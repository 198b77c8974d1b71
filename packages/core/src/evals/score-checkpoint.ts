import { ok, type Result } from "@grove/contracts/errors";
import { jobConfig } from "@grove/contracts/jobs";
import type { Prisma } from "@grove/db";
import type { OrgCtx, Services } from "../context.ts";
import { readRows } from "../datasets/rows.ts";
import { renderTemplate } from "../datasets/template.ts";
import { type Answered, answerRow, type EvalItem, type EvalPlan } from "./answer.ts";
import { answerLength } from "./answer-length.ts";
import { detectLabels } from "./labels.ts";

const parts = {
  repository: { select: { name: true } },
  job: { include: { dataset: true, org: { select: { slug: true } } } },
} satisfies Prisma.AdapterCheckpointInclude;
type Checkpoint = Prisma.AdapterCheckpointGetPayload<{ include: typeof parts }>;

/** The worker's half: a checkpoint answers the first validation rows, by the metric that an evaluation would choose. */
export async function scoreCheckpoint(
  services: Services,
  { checkpointId }: { checkpointId: string },
  signal: AbortSignal,
): Promise<Result<null>> {
  const found = await services.db.adapterCheckpoint.findUnique({ where: { id: checkpointId }, include: parts });
  if (found === null || found.score !== null) return ok(null); // it has made room for newer ones, or was scored before
  const { orgId, org } = found.job;
  const ctx: OrgCtx = { ...services, orgId, orgSlug: org.slug, actor: { kind: "system" } };
  const items = await itemsOf(ctx, found);
  if (items.length === 0) return ok(null);
  const plan = await planOf(ctx, found, items);
  const answers: Answered[] = [];
  for (const item of items) answers.push(await answerRow(ctx, plan, "adapter", item, signal));
  const score = answers.reduce((sum, answer) => sum + answer.score, 0) / answers.length;
  await services.db.adapterCheckpoint.updateMany({ where: { id: checkpointId }, data: { metric: plan.metric, score } });
  return ok(null);
}

/** Conversations and plain text have no column of right answers. */
async function itemsOf(ctx: OrgCtx, { job }: Checkpoint): Promise<EvalItem[]> {
  const { dataKind, promptTemplate, targetColumn, hyperparameters } = jobConfig.parse(job.config);
  if (dataKind === "messages" || dataKind === "text") return [];
  const items: EvalItem[] = [];
  const rows = readRows(ctx, job.dataset, { split: "validation", limit: hyperparameters.scoreRows });
  for await (const { index, values } of rows) {
    const reference = (values[targetColumn] ?? "").trim();
    items.push({ index, prompt: renderTemplate(promptTemplate, values), reference });
  }
  return items;
}

async function planOf(ctx: OrgCtx, { id, name, repository, job }: Checkpoint, items: EvalItem[]): Promise<EvalPlan> {
  const config = jobConfig.parse(job.config);
  const labels = await detectLabels(ctx, job.dataset, config.targetColumn);
  const held = { split: "validation", rows: items.length } as const;
  return {
    evalId: id,
    baseModel: config.baseModel,
    adapterId: `${repository.name}/${name}`,
    chat: config.promptFormat === "chat",
    metric: labels === null ? "rouge_l" : "accuracy",
    labels: null, // free answers alone: a look on the way, not the evaluation
    maxNewTokens: await answerLength(ctx, job.dataset, config, held),
    singleLine: items.every((item) => !item.reference.includes("\n")),
  };
}
