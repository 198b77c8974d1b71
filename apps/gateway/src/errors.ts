import { type ErrorCode, errorTable, type Failure } from "@grove/contracts/errors";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/** Three vocabularies outside, one inside: each family of routes writes a failure in the shape its clients know. */
export type ErrorShape = "lorax" | "openai" | "grove";

const RETRY_AFTER_SECONDS: Partial<Record<ErrorCode, number>> = {
  serving_overloaded: 1,
  serving_unavailable: 5,
  queue_unavailable: 5,
};

export function failureResponse(shape: ErrorShape, failure: Failure): Response {
  const status = statusIn(shape, failure.code);
  const headers = new Headers({ "content-type": "application/json" });
  const wait = RETRY_AFTER_SECONDS[failure.code];
  if (wait !== undefined) headers.set("retry-after", String(wait));
  if (status === 401) headers.set("www-authenticate", "Bearer");
  // the OpenAI clients send 409, 429 and 5xx again by themselves unless they are told not to
  if (shape === "openai") headers.set("x-should-retry", String(errorTable[failure.code].retry));
  return new Response(JSON.stringify(bodyIn(shape, failure)), { status, headers });
}

function statusIn(shape: ErrorShape, code: ErrorCode): ContentfulStatusCode {
  // LoRAX answers for an adapter it cannot get as for any other generation that cannot be done
  if (shape === "lorax" && code === "adapter_not_found") return 424;
  return errorTable[code].http;
}

function bodyIn(shape: ErrorShape, failure: Failure): unknown {
  const { code, message } = failure;
  if (shape === "lorax") return { error: message, error_type: loraxTypes[code] ?? code };
  if (shape === "openai") return openAiBody(failure);
  return {
    error: {
      code,
      message,
      ...(failure.field === undefined ? {} : { field: failure.field }),
      ...(failure.line === undefined ? {} : { line: failure.line }),
    },
  };
}

/** The words that LoRAX's clients choose an exception by; for what LoRAX does not know they go by the status. */
const loraxTypes: Partial<Record<ErrorCode, string>> = {
  invalid_input: "validation",
  prompt_too_long: "validation",
  adapter_not_found: "generation",
  generation_failed: "generation",
  serving_overloaded: "overloaded",
};

function openAiBody({ code, message, field }: Failure): unknown {
  const status = errorTable[code].http;
  const type =
    status === 401
      ? "authentication_error"
      : status === 403
        ? "permission_error"
        : status === 429
          ? "rate_limit_error"
          : status >= 500
            ? "server_error"
            : "invalid_request_error";
  const known = openAiCodes[code];
  return { error: { message, type, param: known?.param ?? field ?? null, code: known?.code ?? code } };
}

const openAiCodes: Partial<Record<ErrorCode, { code: string; param?: string }>> = {
  unauthenticated: { code: "invalid_api_key" },
  token_invalid: { code: "invalid_api_key" },
  token_revoked: { code: "invalid_api_key" },
  adapter_not_found: { code: "model_not_found", param: "model" },
  base_model_not_found: { code: "model_not_found", param: "model" },
  serving_overloaded: { code: "rate_limit_exceeded" },
};
