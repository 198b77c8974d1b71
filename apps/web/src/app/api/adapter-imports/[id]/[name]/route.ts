import { adapterFileNames } from "@grove/contracts/adapters";
import { fail } from "@grove/contracts/errors";
import { putUploadFile } from "@grove/core/adapters/transfers";
import { z } from "zod";
import { env } from "@/server/env";
import { failureResponse } from "@/server/failure-response";
import { isSameOrigin } from "@/server/origin";
import { currentOrg } from "@/server/session";

export const dynamic = "force-dynamic";

const path = z.object({ id: z.uuid(), name: z.enum(adapterFileNames) });
type RouteContext = { params: Promise<{ id: string; name: string }> };

/** One file of an upload that has begun: the body is the file itself, passed on as a stream. */
export async function PUT(request: Request, { params }: RouteContext): Promise<Response> {
  if (!isSameOrigin(request.headers, env().NEXTAUTH_URL))
    return failureResponse(fail("forbidden", "This request came from another site."));
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to upload an adapter."));
  const given = path.safeParse(await params);
  if (!given.success) return failureResponse(fail("route_not_found", "An adapter has no such file."));
  if (request.body === null) return failureResponse(fail("adapter_invalid", `${given.data.name} is empty.`));
  const stored = await putUploadFile(org, given.data, request.body);
  return stored.ok ? Response.json(stored.value) : failureResponse(stored);
}
