/** Every expected failure has one code here; HTTP, tRPC, handlers and Python read the same meaning from it. */
export const errorTable = {
  unauthenticated: { http: 401, trpc: "UNAUTHORIZED", retry: false },
  wrong_password: { http: 401, trpc: "UNAUTHORIZED", retry: false },
  token_invalid: { http: 401, trpc: "UNAUTHORIZED", retry: false },
  token_revoked: { http: 401, trpc: "UNAUTHORIZED", retry: false },
  forbidden: { http: 403, trpc: "FORBIDDEN", retry: false },
  invalid_input: { http: 422, trpc: "BAD_REQUEST", retry: false },
  malformed_request: { http: 400, trpc: "BAD_REQUEST", retry: false },
  config_invalid: { http: 422, trpc: "BAD_REQUEST", retry: false },
  route_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  dataset_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  sweep_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  job_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  adapter_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  export_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  transfer_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  base_model_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  eval_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  token_not_found: { http: 404, trpc: "NOT_FOUND", retry: false },
  email_taken: { http: 409, trpc: "CONFLICT", retry: false },
  name_taken: { http: 409, trpc: "CONFLICT", retry: false },
  idempotency_conflict: { http: 409, trpc: "CONFLICT", retry: false },
  dataset_not_ready: { http: 409, trpc: "CONFLICT", retry: false },
  dataset_in_use: { http: 409, trpc: "CONFLICT", retry: false },
  export_not_ready: { http: 409, trpc: "CONFLICT", retry: false },
  transfer_not_open: { http: 409, trpc: "CONFLICT", retry: false },
  hub_disabled: { http: 409, trpc: "CONFLICT", retry: false },
  adapter_invalid: { http: 422, trpc: "BAD_REQUEST", retry: false },
  hub_refused: { http: 424, trpc: "BAD_GATEWAY", retry: false },
  hub_unavailable: { http: 503, trpc: "SERVICE_UNAVAILABLE", retry: true },
  run_not_replayable: { http: 409, trpc: "CONFLICT", retry: false },
  job_not_pausable: { http: 409, trpc: "CONFLICT", retry: false },
  job_not_cancellable: { http: 409, trpc: "CONFLICT", retry: false },
  job_too_large: { http: 422, trpc: "BAD_REQUEST", retry: false },
  dataset_empty: { http: 422, trpc: "BAD_REQUEST", retry: false },
  dataset_too_small: { http: 422, trpc: "BAD_REQUEST", retry: false },
  dataset_file_invalid: { http: 422, trpc: "BAD_REQUEST", retry: false },
  dataset_format_unknown: { http: 415, trpc: "UNSUPPORTED_MEDIA_TYPE", retry: false },
  upload_too_large: { http: 413, trpc: "PAYLOAD_TOO_LARGE", retry: false },
  upload_interrupted: { http: 400, trpc: "BAD_REQUEST", retry: false },
  template_column_missing: { http: 422, trpc: "BAD_REQUEST", retry: false },
  target_column_missing: { http: 422, trpc: "BAD_REQUEST", retry: false },
  prompt_too_long: { http: 422, trpc: "BAD_REQUEST", retry: false },
  upstream_unsupported: { http: 501, trpc: "NOT_IMPLEMENTED", retry: false }, // the model server behind us can't express it
  generation_failed: { http: 424, trpc: "BAD_GATEWAY", retry: false },
  serving_overloaded: { http: 429, trpc: "TOO_MANY_REQUESTS", retry: true },
  serving_unavailable: { http: 503, trpc: "SERVICE_UNAVAILABLE", retry: true },
  storage_full: { http: 507, trpc: "SERVICE_UNAVAILABLE", retry: false },
  queue_unavailable: { http: 503, trpc: "SERVICE_UNAVAILABLE", retry: true },
  trainer_bad_spec: { http: 422, trpc: "BAD_REQUEST", retry: false },
  trainer_bad_data: { http: 422, trpc: "BAD_REQUEST", retry: false },
  trainer_out_of_memory: { http: 500, trpc: "INTERNAL_SERVER_ERROR", retry: false },
  trainer_diverged: { http: 500, trpc: "INTERNAL_SERVER_ERROR", retry: false },
  trainer_disk_full: { http: 507, trpc: "INTERNAL_SERVER_ERROR", retry: false },
  trainer_failed: { http: 500, trpc: "INTERNAL_SERVER_ERROR", retry: true },
  trainer_died: { http: 500, trpc: "INTERNAL_SERVER_ERROR", retry: true },
  internal: { http: 500, trpc: "INTERNAL_SERVER_ERROR", retry: true },
} as const;

export type ErrorCode = keyof typeof errorTable;

/** What happened and what to do about it; `field` is the path of the input at fault, `line` a 1-based line of a file. */
export type Failure<C extends ErrorCode = ErrorCode> = {
  ok: false;
  code: C;
  message: string;
  field?: string;
  line?: number;
};
export type Result<T, C extends ErrorCode = ErrorCode> = { ok: true; value: T } | Failure<C>;

export function ok<T>(value: T): { ok: true; value: T } {
  return { ok: true, value };
}

export function fail<C extends ErrorCode>(
  code: C,
  message: string,
  where: { field?: string; line?: number } = {},
): Failure<C> {
  return { ok: false, code, message, ...where };
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(errorTable, code);
}
