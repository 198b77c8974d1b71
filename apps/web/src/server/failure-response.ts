import { errorTable, type Failure } from "@grove/contracts/errors";

/** An expected failure as JSON, for the few routes that are not tRPC. */
export function failureResponse(failure: Failure): Response {
  const { code, message, field = null, line = null } = failure;
  return Response.json({ code, message, field, line }, { status: errorTable[code].http });
}
