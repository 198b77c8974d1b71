import { adapterFileNames } from "@grove/contracts/adapters";
import { fail } from "@grove/contracts/errors";
import { openAdapterFile } from "@grove/core/adapters/files";
import { getAdapter } from "@grove/core/adapters/read";
import { failureResponse } from "@/server/failure-response";
import { currentOrg } from "@/server/session";
import { webStream } from "@/server/web-stream";

export const dynamic = "force-dynamic";

type RouteContext = { params: Promise<{ repository: string; version: string; name: string }> };

/** One file of an adapter of the visitor's own organisation. */
export async function GET(_request: Request, { params }: RouteContext): Promise<Response> {
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to read an adapter's files."));
  const { repository, version, name } = await params;
  const fileName = adapterFileNames.find((item) => item === name);
  if (fileName === undefined) return failureResponse(fail("route_not_found", "An adapter has no such file."));
  const adapter = await getAdapter(org, `${repository}/${version}`);
  if (!adapter.ok) return failureResponse(adapter);
  const file = await openAdapterFile(org, adapter.value.sha256, fileName);
  if (file === null) return failureResponse(fail("route_not_found", "This file is not in the object store."));
  const type = fileName.endsWith(".safetensors") ? "application/octet-stream" : "text/plain; charset=utf-8";
  return new Response(webStream(file.stream), {
    headers: { "content-type": type, "content-length": String(file.bytes) },
  });
}
