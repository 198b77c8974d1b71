import type { Metric } from "@grove/contracts/evals";
import { l as rouge } from "js-rouge";

export type RowScores = { accuracy: number; exact: boolean; rougeL: number };

/** Every metric of one answer. The answer is trimmed first; nothing else about it is forgiven by `exact`. */
export function scoreAnswer(answer: string, reference: string): RowScores {
  return {
    accuracy: sameAnswer(answer, reference) ? 1 : 0,
    exact: answer.trim() === reference.trim(),
    rougeL: rougeL(answer, reference),
  };
}

export function pickScore(metric: Metric, scores: RowScores): number {
  switch (metric) {
    case "accuracy":
      return scores.accuracy;
    case "exact_match":
      return scores.exact ? 1 : 0;
    case "rouge_l":
      return scores.rougeL;
  }
}

/** Equal after dropping one final full stop and lower-casing, or equal as numbers. */
export function sameAnswer(answer: string, reference: string): boolean {
  const given = plain(answer);
  const wanted = plain(reference);
  if (given === wanted) return true;
  const a = asNumber(given);
  const b = asNumber(wanted);
  return a !== null && a === b;
}

function plain(text: string): string {
  return text.trim().replace(/\.$/, "").trimEnd().toLowerCase();
}

function asNumber(text: string): number | null {
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/.test(text)) return null;
  return Number(text);
}

/**
 * ROUGE-L F1 over the whole text as one sentence, lower-cased, words alone: the numbers of Google's `rouge-score`
 * (`rougeL`, no stemmer) for ASCII text. That package drops letters outside a-z; we keep letters and digits of every script.
 * js-rouge's own defaults are another metric: Penn Treebank tokens, with case, and a union over sentences (`rougeLsum`).
 */
export function rougeL(answer: string, reference: string): number {
  if (words(answer).length === 0 || words(reference).length === 0) return 0;
  return rouge(answer, reference, { tokenizer: words, segmenter: (text) => [text] });
}

function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}
