import { uploadDatasetInput } from "@grove/contracts/datasets";
import { fail } from "@grove/contracts/errors";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import { z } from "zod";
import { env } from "@/server/env";
import { failureResponse } from "@/server/failure-response";
import { isSameOrigin } from "@/server/origin";
import { currentOrg } from "@/server/session";

export const dynamic = "force-dynamic";

const query = uploadDatasetInput.extend({
  splitSeed: z.coerce
    .number()
    .pipe(
      z
        .int()
        .min(0)
        .max(2 ** 31 - 1),
    )
    .default(42),
});

/** The body is the file itself, passed on as a stream: nothing is held in memory. */
export async function POST(request: Request): Promise<Response> {
  if (!isSameOrigin(request.headers, env().NEXTAUTH_URL))
    return failureResponse(fail("forbidden", "This request came from another site."));
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to upload a file."));
  const given = query.safeParse(Object.fromEntries(new URL(request.url).searchParams));
  if (!given.success) {
    const issue = given.error.issues[0];
    return failureResponse(
      fail("invalid_input", issue?.message ?? "The input is not valid.", { field: issue?.path.join(".") }),
    );
  }
  if (request.body === null)
    return failureResponse(fail("dataset_empty", "The file is empty. Choose one with a header line and rows."));
  const result = await uploadDataset(org, given.data, request.body);
  return result.ok ? Response.json(result.value, { status: 201 }) : failureResponse(result);
}
