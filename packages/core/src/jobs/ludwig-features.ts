import type { LudwigDraft } from "./ludwig-draft.ts";
import { ignore, keys, only, type Rule, take } from "./ludwig-rule.ts";

/** `- {name: question, type: text}`; a plain name is enough. */
export function featureRule(side: "inputs" | "outputs"): Rule {
  const start = (name: unknown, draft: LudwigDraft, path: string[]): string | undefined => {
    if (typeof name !== "string" || name === "") return `${path.join(".")} must be the name of a column.`;
    draft[side].push({ name, maxLength: null });
    if (side === "outputs") draft.from("targetColumn", path);
    return undefined;
  };
  return keys(
    {
      name: take(start),
      column: take((value, draft) => {
        const feature = draft[side].at(-1);
        if (typeof value !== "string" || feature === undefined)
          return "column must be the name of a column, and stand after name.";
        feature.name = value;
      }),
      type: only(["text"], "features are text here. A label is learnt as its text: write type: text."),
      preprocessing: keys({
        max_sequence_length: take((value, draft, path) => {
          const feature = draft[side].at(-1);
          if (value === null || feature === undefined) return;
          if (typeof value !== "number" || !Number.isInteger(value)) return `${path.join(".")} must be a whole number.`;
          feature.maxLength = value;
        }),
        missing_value_strategy: ignore,
        lowercase: only([false], "text is learnt as it is written."),
      }),
      tied: only([null], "features are independent."),
      proc_column: ignore,
    },
    { kind: "take", take: start },
  );
}
