import { type Failure, fail } from "@grove/contracts/errors";
import { z } from "zod";

export type RefusalError =
  | "invalid_input"
  | "malformed_request"
  | "serving_overloaded"
  | "serving_unavailable"
  | "generation_failed";

const loraxError = z.looseObject({ error: z.string(), error_type: z.string().optional() });
const openAiError = z.looseObject({ error: z.looseObject({ message: z.string(), type: z.string().nullish() }) });

/** Serving's refusal, in LoRAX's shape or OpenAI's, as a code of our table. An event of a stream has no status of its own. */
export function refusalOf(status: number, body: unknown): Failure<RefusalError> {
  const { message, type } = readRefusal(body);
  return fail(codeOf(status, type), message);
}

export function readRefusal(body: unknown): { message: string; type: string | null } {
  const lorax = loraxError.safeParse(body);
  if (lorax.success) return { message: lorax.data.error, type: lorax.data.error_type ?? null };
  const openAi = openAiError.safeParse(body);
  if (openAi.success) return { message: openAi.data.error.message, type: openAi.data.error.type ?? null };
  return { message: "The model server refused without giving a reason.", type: null };
}

const badRequests = new Set<string | null>(["invalid_request_error", "BadRequestError"]); // OpenAI's and vLLM's words

function codeOf(status: number, type: string | null): RefusalError {
  if (type === "validation" || type === "template_error" || status === 422 || badRequests.has(type))
    return "invalid_input";
  if (type === "overloaded" || status === 429) return "serving_overloaded";
  if (status === 400 || status === 415) return "malformed_request";
  if (status === 503) return "serving_unavailable";
  return "generation_failed";
}
