import type { JobConfig } from "@grove/contracts/jobs";
import type { Services } from "../context.ts";
import { loadTokenCounter } from "../datasets/tokens.ts";
import type { EvalItem } from "./items.ts";

const MARGIN = 4; // room for an answer that is spelt in more pieces
const LONGEST = 1024;

/** Tokens, end included, of the longest right answer, and a margin. */
export async function answerLength(
  services: Pick<Services, "settings">,
  { promptFormat }: Pick<JobConfig, "promptFormat">,
  items: EvalItem[],
): Promise<number> {
  const counter = await loadTokenCounter(services.settings.baseModel.path);
  const longest = items.reduce(
    (most, item) => Math.max(most, counter.countCompletion(item.prompt, item.reference, promptFormat)),
    1,
  );
  return Math.min(LONGEST, longest + MARGIN);
}
