import type { Hyperparameters } from "@grove/contracts/jobs";
import type { LudwigDraft } from "./ludwig-draft.ts";

/** Takes a value over, or says what is wrong with it. */
export type Take = (value: unknown, draft: LudwigDraft, path: string[]) => string | undefined;
export type Leaf =
  | { kind: "take"; take: Take }
  | { kind: "only"; values: unknown[]; reason: string }
  | { kind: "ignore" };
export type Rule = Leaf | { kind: "keys"; keys: Record<string, Rule>; short?: Leaf } | { kind: "items"; item: Rule };

/** `short`: what a plain value in the place of the keys means. */
export function keys(inner: Record<string, Rule>, short?: Leaf): Rule {
  return { kind: "keys", keys: inner, ...(short ? { short } : {}) };
}

export function take(read: Take): Leaf {
  return { kind: "take", take: read };
}

/** Known to Ludwig, not to us: allowed where it says what we do anyway. */
export function only(values: unknown[], reason: string): Leaf {
  return { kind: "only", values, reason };
}

export const ignore: Leaf = { kind: "ignore" };

export function integer(knob: keyof Hyperparameters): Take {
  return (value, draft, path) => {
    if (typeof value !== "number" || !Number.isInteger(value)) return `${path.join(".")} must be a whole number.`;
    draft.set(knob, value, path);
    return undefined;
  };
}

export function number(knob: keyof Hyperparameters): Take {
  return (value, draft, path) => {
    if (typeof value !== "number") return `${path.join(".")} must be a number.`;
    draft.set(knob, value, path);
    return undefined;
  };
}

export function flag(knob: keyof Hyperparameters): Take {
  return (value, draft, path) => {
    if (typeof value !== "boolean") return `${path.join(".")} must be true or false.`;
    draft.set(knob, value, path);
    return undefined;
  };
}
