import { setImmediate as nextTurn } from "node:timers/promises";
import type { PromptFormat, TokenLengths } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Services } from "../context.ts";
import { loadTokenCounter, type TokenCounter } from "./tokens.ts";

export type Example = { prompt: string; completion: string };
export type ExampleLength = { total: number; completion: number };
/** `rows` holds the lengths of the measured rows that have an answer; `lengths.total` and `trainable` are scaled to all rows. */
export type Measured = {
  lengths: TokenLengths;
  rows: ExampleLength[];
  trainable: number;
  contextLength: number;
  count: (prompt: string, completion: string) => number;
};
export type MeasureRequest = {
  key: string[]; // what the measurement depends on; the data set's rows never change
  rows: number;
  promptFormat: PromptFormat;
  examples: () => AsyncIterable<Example>;
};

const EXACT_ROWS = 20_000;
const SLICE_MS = 12; // how long a web request of someone else may have to wait
const KEPT = 32;

const measurements = new Map<string, Promise<Measured>>();

/**
 * Token lengths over the training split: of every row up to 20,000, of an even sample above. Kept in memory, so that the
 * quote after a preview costs nothing.
 */
export async function measureTraining(
  services: Pick<Services, "settings">,
  request: MeasureRequest,
): Promise<Result<Measured, "config_invalid">> {
  const base = services.settings.baseModel;
  const counter = await loadTokenCounter(base.path);
  if (request.promptFormat === "chat" && !counter.hasChatTemplate)
    return fail("config_invalid", `${base.id} has no chat template. Choose the prompt format "raw".`, {
      field: "promptFormat",
    });
  const key = JSON.stringify([base.path, ...request.key]);
  const before = measurements.get(key);
  if (before) return ok(await before);
  const measuring = measure(counter, request);
  measurements.set(key, measuring);
  measuring.catch(() => measurements.delete(key));
  const oldest = measurements.keys().next();
  if (measurements.size > KEPT && oldest.done !== true) measurements.delete(oldest.value);
  return ok(await measuring);
}

async function measure(counter: TokenCounter, request: MeasureRequest): Promise<Measured> {
  const stride = Math.ceil(request.rows / EXACT_ROWS);
  const rows: ExampleLength[] = [];
  let at = 0;
  let measured = 0;
  let turn = performance.now();
  for await (const { prompt, completion } of request.examples()) {
    if (at++ % stride !== 0) continue;
    measured++;
    if (completion.trim() !== "") rows.push(lengthOf(counter, request.promptFormat, prompt, completion));
    if (performance.now() - turn > SLICE_MS) {
      await nextTurn();
      turn = performance.now();
    }
  }
  const scale = measured === 0 ? 0 : at / measured;
  const ordered = rows.map((row) => row.total).sort((a, b) => a - b);
  const total = ordered.reduce((sum, length) => sum + length, 0);
  return {
    rows,
    trainable: Math.round(rows.length * scale),
    contextLength: counter.contextLength,
    count: (prompt, completion) => lengthOf(counter, request.promptFormat, prompt, completion).total,
    lengths: {
      p50: percentile(ordered, 0.5),
      p95: percentile(ordered, 0.95),
      max: ordered.at(-1) ?? 0,
      total: Math.round(total * scale),
      rowsMeasured: measured,
    },
  };
}

function lengthOf(counter: TokenCounter, format: PromptFormat, prompt: string, completion: string): ExampleLength {
  const answer = counter.countCompletion(prompt, completion, format);
  return { total: counter.countPrompt(prompt, format) + answer, completion: answer };
}

/** The trainer's: the smallest length that this share of the rows does not exceed. */
export function percentile(ordered: number[], share: number): number {
  return ordered[Math.max(0, Math.ceil(share * ordered.length) - 1)] ?? 0;
}
