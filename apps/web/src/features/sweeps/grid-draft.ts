import { type SweepGrid, type SweepKnob, sweepGrid, sweepKnobs } from "@grove/contracts/sweeps";
import { readable } from "../shared/readable";

/** The values to try, as they are typed: "0.0002, 0.0005". */
export type GridDraft = Record<SweepKnob, string>;
export const emptyGrid: GridDraft = { learningRate: "", rank: "", epochs: "", batchSize: "", seed: "" };
/** No grid where nothing is typed: then it is one job. `problems` are by knob, and under "" where they are of the whole. */
export type CheckedGrid =
  | { ok: true; grid: SweepGrid | null }
  | { ok: false; problems: Partial<Record<SweepKnob | "", string>> };

export function checkGrid(draft: GridDraft): CheckedGrid {
  const typed = sweepKnobs.filter((knob) => draft[knob].trim() !== "");
  if (typed.length === 0) return { ok: true, grid: null };
  const values = (knob: SweepKnob) =>
    draft[knob]
      .split(/[\s,;]+/)
      .filter((text) => text !== "")
      .map(Number);
  const parsed = sweepGrid.safeParse(Object.fromEntries(typed.map((knob) => [knob, values(knob)])));
  if (parsed.success) return { ok: true, grid: parsed.data };
  const problems: Partial<Record<SweepKnob | "", string>> = {};
  for (const { path, message } of parsed.error.issues) {
    const knob = sweepKnobs.find((name) => name === path[0]) ?? "";
    problems[knob] ??= readable(message);
  }
  return { ok: false, problems };
}
