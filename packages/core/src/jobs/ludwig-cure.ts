import type { z } from "zod";

/** What a value that our own schema does not take should be instead, after its key. */
export function cureOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "too_big":
      return `is too large: write ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}.`;
    case "too_small":
      return `is too small: write ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}.`;
    case "invalid_value":
      return `must be ${issue.values.length === 1 ? "" : "one of "}${issue.values.join(", ")}.`;
    default:
      return `is not valid: ${issue.message}.`;
  }
}
