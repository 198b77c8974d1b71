import { appRouter } from "@grove/api";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";
import { env } from "@/server/env";
import { failureResponse } from "@/server/failure-response";
import { isSameOrigin } from "@/server/origin";
import { services } from "@/server/services";
import { currentOrg } from "@/server/session";

export const dynamic = "force-dynamic";

/** Everything comes by POST: long templates do not fit an address, and `Origin` is there to check. */
export async function POST(request: Request): Promise<Response> {
  if (!isSameOrigin(request.headers, env().NEXTAUTH_URL)) {
    return failureResponse({ ok: false, code: "forbidden", message: "This request came from another site." });
  }
  return fetchRequestHandler({
    endpoint: "/api/trpc",
    req: request,
    router: appRouter,
    allowMethodOverride: true,
    createContext: async () => ({ services: services(), org: await currentOrg() }),
    onError: ({ error, path }) => {
      const hasLeft = request.signal.aborted; // a reader who stopped an answer is no fault
      if (error.code === "INTERNAL_SERVER_ERROR" && !hasLeft)
        console.error(`tRPC ${path ?? "?"} failed`, error.cause ?? error);
    },
  });
}
