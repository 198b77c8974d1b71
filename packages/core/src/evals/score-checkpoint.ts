import { ok, type Result } from "@grove/contracts/errors";
import { hasRightAnswers } from "@grove/contracts/evals";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import type { Prisma } from "@grove/db";
import type { OrgCtx, Services } from "../context.ts";
import { type Answered, answerRow, type EvalPlan } from "./answer.ts";
import { answerLength } from "./answer-length.ts";
import { areSingleLine, defaultMetric, type EvalItem, readItems } from "./items.ts";
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
  const config = jobConfig.parse(found.job.config);
  if (!hasRightAnswers(config)) return ok(null);
  const choice = { split: "validation", limit: config.hyperparameters.scoreRows } as const;
  const items = await readItems(ctx, found.job.dataset, config, choice);
  if (items.length === 0) return ok(null);
  const plan = await planOf(ctx, found, config, items);
  const answers: Answered[] = [];
  for (const item of items) answers.push(await answerRow(ctx, plan, "adapter", item, signal));
  const score = answers.reduce((sum, answer) => sum + answer.score, 0) / answers.length;
  await services.db.adapterCheckpoint.updateMany({ where: { id: checkpointId }, data: { metric: plan.metric, score } });
  return ok(null);
}

async function planOf(
  ctx: OrgCtx,
  { id, name, repository, job }: Checkpoint,
  config: JobConfig,
  items: EvalItem[],
): Promise<EvalPlan> {
  const labels = await detectLabels(ctx, job.dataset, config.targetColumn);
  return {
    evalId: id,
    baseModel: config.baseModel,
    adapterId: `${repository.name}/${name}`,
    chat: config.promptFormat === "chat",
    metric: defaultMetric(labels),
    labels: null, // free answers alone: a look on the way, not the evaluation
    maxNewTokens: await answerLength(ctx, config, items),
    singleLine: areSingleLine(items),
  };
}
