import { jobConfig } from "@grove/contracts/jobs";
import type { Job, PrismaClient } from "@grove/db";

const LOOK_MS = 1_000;

type Scored = { step: number; score: number };

/**
 * The step that a job is to end with: the best so far, once as many later checkpoints as its patience were no better; null
 * while it is to go on.
 */
export function stepToEndWith(scored: Scored[], patience: number): number | null {
  const inOrder = [...scored].sort((a, b) => a.step - b.step);
  const best = inOrder.reduce<Scored | null>(
    (before, one) => (before === null || one.score > before.score ? one : before),
    null,
  );
  if (best === null) return null;
  const later = inOrder.filter((one) => one.step > best.step).length;
  return later >= patience ? best.step : null;
}

/**
 * Tells the step to end with, once the checkpoints' scores say so; nothing for a job that does not stop by them. Scores come
 * from whichever worker asked the engine. Call what is returned to stop looking.
 */
export function watchScores(
  db: PrismaClient,
  job: Pick<Job, "id" | "config">,
  tell: (step: number) => void,
): () => void {
  const stop = jobConfig.parse(job.config).hyperparameters.stopOnScore;
  if (stop === null) return () => undefined;
  const seen = new Map<number, number>(); // checkpoints make room for newer ones, what they scored stays known
  let timer: NodeJS.Timeout;
  let isOver = false;
  const look = async (): Promise<void> => {
    const rows = await db.adapterCheckpoint.findMany({
      where: { jobId: job.id, score: { not: null } },
      select: { step: true, score: true },
    });
    for (const { step, score } of rows) if (score !== null) seen.set(step, score);
    const scored = [...seen].map(([step, score]) => ({ step, score }));
    const step = stepToEndWith(scored, stop.patience);
    if (step === null || isOver) return;
    isOver = true;
    tell(step);
  };
  const next = (): void => {
    timer = setTimeout(() => {
      // the database may be away for a moment: the next look tells
      void look()
        .catch(() => undefined)
        .then(() => {
          if (!isOver) next();
        });
    }, LOOK_MS);
  };
  next();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}
