import { fail } from "@grove/contracts/errors";
import { downloadFormats } from "@grove/contracts/transfers";
import { downloadAdapter } from "@grove/core/adapters/download";
import { failureResponse } from "@/server/failure-response";
import { currentOrg } from "@/server/session";
import { webStream } from "@/server/web-stream";

export const dynamic = "force-dynamic";

type RouteContext = { params: Promise<{ repository: string; version: string }> };

/** `?format=peft|gguf|merged`; the latter two are there once a worker has made them. */
export async function GET(request: Request, { params }: RouteContext): Promise<Response> {
  const org = await currentOrg();
  if (org === null) return failureResponse(fail("unauthenticated", "Sign in to download an adapter."));
  const { repository, version } = await params;
  const asked = new URL(request.url).searchParams.get("format") ?? "peft";
  const format = downloadFormats.find((item) => item === asked);
  if (format === undefined)
    return failureResponse(fail("invalid_input", `The format is one of ${downloadFormats.join(", ")}.`));
  const file = await downloadAdapter(org, `${repository}/${version}`, format);
  if (!file.ok) return failureResponse(file);
  const { contentType, bytes, fileName, stream } = file.value;
  return new Response(webStream(stream), {
    headers: {
      "content-type": contentType,
      "content-length": String(bytes),
      "content-disposition": `attachment; filename="${fileName}"`,
    },
  });
}
