import type { JobEventView } from "@grove/contracts/jobs";
import { type TrainerEvent, trainerEvent } from "@grove/contracts/trainer";

export type CurvePoint = { step: number; loss: number | null; validation: number | null; learningRate: number | null };
export type StepEvent = Extract<TrainerEvent, { event: "step" }>;
export type TrainingStory = {
  points: CurvePoint[];
  last: StepEvent | null;
  started: Extract<TrainerEvent, { event: "started" }> | null;
  warnings: string[];
};

const mostPoints = 600;

/** A later attempt resumes from a checkpoint and says some steps again: the last word on a step counts. */
export function readStory(events: readonly JobEventView[]): TrainingStory {
  const byStep = new Map<number, CurvePoint>();
  const story: TrainingStory = { points: [], last: null, started: null, warnings: [] };
  const at = (step: number) => byStep.get(step) ?? { step, loss: null, validation: null, learningRate: null };
  for (const { event } of events) {
    const parsed = trainerEvent.safeParse(event);
    if (!parsed.success) continue;
    const said = parsed.data;
    if (said.event === "started") story.started = said;
    if (said.event === "warning") story.warnings.push(said.message);
    if (said.event === "validation") byStep.set(said.step, { ...at(said.step), validation: said.loss });
    if (said.event === "step") {
      byStep.set(said.step, { ...at(said.step), loss: said.loss, learningRate: said.learning_rate });
      story.last = said;
    }
  }
  story.points = thin([...byStep.values()].sort((a, b) => a.step - b.step));
  return story;
}

/** Long runs are drawn with fewer points; those with a validation loss always stay. */
function thin(points: CurvePoint[]): CurvePoint[] {
  if (points.length <= mostPoints) return points;
  const every = Math.ceil(points.length / mostPoints);
  return points.filter(
    (point, index) => index % every === 0 || point.validation !== null || index === points.length - 1,
  );
}
