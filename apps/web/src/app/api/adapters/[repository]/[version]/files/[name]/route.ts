import { adapterFileNames } from "@grove/contracts/adapters";
import { fail } from "@grove/contracts/errors";
import { readAdapterFile } from "@grove/core/adapters/download";
import { failureResponse } from "@/server/failure-response";
import { currentOrg } from "@/server/session";
import { webStream } from "@/server/web-stream";

export const dynamic = "force-dynamic";

type RouteContext = { params: Promise<{ repository: string; version: string; name: string }> };

/** One file of an adapter of the visitor's own organisation; the model card as it is true now. */
export async function GET(_request: Request, { params }: RouteContext): Promise<Response> {
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to read an adapter's files."));
  const { repository, version, name } = await params;
  const fileName = adapterFileNames.find((item) => item === name);
  if (fileName === undefined) return failureResponse(fail("route_not_found", "An adapter has no such file."));
  const file = await readAdapterFile(org, `${repository}/${version}`, fileName);
  if (!file.ok) return failureResponse(file);
  const type = fileName.endsWith(".safetensors") ? "application/octet-stream" : "text/plain; charset=utf-8";
  return new Response(webStream(file.value.stream), {
    headers: { "content-type": type, "content-length": String(file.value.bytes) },
  });
}
