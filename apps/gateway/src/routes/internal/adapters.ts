import { createHash, timingSafeEqual } from "node:crypto";
import { Readable } from "node:stream";
import { adapterFileNames, type ResolvedAdapter, resolveAdapterQuery } from "@grove/contracts/adapters";
import { type ErrorCode, fail, type Result } from "@grove/contracts/errors";
import { authenticateToken } from "@grove/core/accounts/tokens";
import { openAdapterFile } from "@grove/core/adapters/files";
import { resolveAdapter } from "@grove/core/adapters/resolve";
import type { Services } from "@grove/core/context";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import type { GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { parseInput, resultResponse } from "../../json.ts";

const filePath = z.strictObject({
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "This is not a SHA-256."),
  name: z.enum(adapterFileNames),
});

/** What serving asks (contracts README §3): who is this adapter, and what are its bytes. */
export function internalAdapterRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();
  app.get("/resolve", async (c) => {
    const query = parseInput(resolveAdapterQuery, c.req.query());
    if (!query.ok) return failureResponse("grove", query);
    return resultResponse(await resolveFor(services, bearerOf(c.req.header("authorization")), query.value));
  });
  app.get("/:sha256/:name", async (c) => {
    if (!isInternal(services, bearerOf(c.req.header("authorization"))))
      return failureResponse("grove", fail("unauthenticated", "The internal secret is needed here."));
    const path = parseInput(filePath, c.req.param());
    if (!path.ok) return failureResponse("grove", path);
    const file = await openAdapterFile(services, path.value.sha256, path.value.name);
    if (file === null) return failureResponse("grove", fail("adapter_not_found", "There are no files of this hash."));
    c.header("content-type", "application/octet-stream");
    c.header("content-length", String(file.bytes));
    return stream(c, (sink) => sink.pipe(Readable.toWeb(file.stream)));
  });
  return app;
}

/** With the internal secret for a named tenant, or with a user's own token for their organisation. */
async function resolveFor(
  services: Services,
  bearer: string,
  query: { id: string; tenant?: string | undefined },
): Promise<Result<ResolvedAdapter, ErrorCode>> {
  if (isInternal(services, bearer)) {
    const org = await services.db.organisation.findUnique({ where: { slug: query.tenant ?? "" } });
    if (!org) return fail("adapter_not_found", `There is no organisation "${query.tenant ?? ""}".`);
    return resolveAdapter({ db: services.db, orgId: org.id, orgSlug: org.slug }, query.id);
  }
  const ctx = await authenticateToken(services, bearer);
  if (!ctx.ok) return ctx;
  if (query.tenant !== undefined && query.tenant !== ctx.value.orgSlug)
    return fail("forbidden", "This API token is of another organisation.");
  return resolveAdapter(ctx.value, query.id);
}

function bearerOf(header: string | undefined): string {
  return /^Bearer +(\S+)$/i.exec(header ?? "")?.[1] ?? "";
}

/** Of equal length after hashing, so that the time taken tells nothing. */
function isInternal(services: Services, bearer: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(bearer), digest(services.settings.internalSecret));
}
