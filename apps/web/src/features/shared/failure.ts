import type { AppRouter } from "@grove/api";
import type { TRPCClientErrorLike } from "@trpc/client";

export type ApiError = TRPCClientErrorLike<AppRouter>;
export type ShownFailure = { code: string; message: string; field: string | null; line: number | null };

const offline: ShownFailure = {
  code: "offline",
  message: "Grove does not answer. Check that it is running and that you are connected.",
  field: null,
  line: null,
};

/** What to tell a person about an error of the API; a request that never arrived has no `data`. */
export function failureOf(error: Pick<ApiError, "data">): ShownFailure {
  return error.data?.failure ?? offline;
}
