import { fail } from "@grove/contracts/errors";
import { zipAdapter } from "@grove/core/adapters/files";
import { failureResponse } from "@/server/failure-response";
import { currentOrg } from "@/server/session";
import { webStream } from "@/server/web-stream";

export const dynamic = "force-dynamic";

type RouteContext = { params: Promise<{ repository: string; version: string }> };

export async function GET(_request: Request, { params }: RouteContext): Promise<Response> {
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to download an adapter."));
  const { repository, version } = await params;
  const zip = await zipAdapter(org, `${repository}/${version}`);
  if (!zip.ok) return failureResponse(zip);
  return new Response(webStream(zip.value.stream), {
    headers: {
      "content-type": "application/zip",
      "content-disposition": `attachment; filename="${zip.value.fileName}"`,
    },
  });
}
