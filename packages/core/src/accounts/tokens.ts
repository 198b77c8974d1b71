import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { CreatedToken, CreateTokenInput, TokenView } from "@grove/contracts/accounts";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx, Services } from "../context.ts";

const PREFIX_LENGTH = "pb_".length + 8;
const LAST_USED_EVERY_MS = 60_000;
const tokenPattern = /^pb_[0-9a-f]{64}$/;

const visible = { id: true, name: true, prefix: true, createdAt: true, lastUsedAt: true, revokedAt: true } as const;

/** 256 random bits; only their hash is kept, so this answer is the only one that holds the token. */
export async function createToken(ctx: OrgCtx, input: CreateTokenInput): Promise<Result<CreatedToken, "forbidden">> {
  const userId = await ownerOf(ctx);
  if (userId === null) return fail("forbidden", "Only a member of the organisation can make tokens.");
  const token = `pb_${randomBytes(32).toString("hex")}`;
  const row = await ctx.db.apiToken.create({
    data: {
      orgId: ctx.orgId,
      userId,
      name: input.name,
      prefix: token.slice(0, PREFIX_LENGTH),
      tokenHash: hashToken(token),
    },
    select: visible,
  });
  return ok({ ...row, token });
}

/** Newest first, revoked ones included: their last use stays worth knowing. */
export async function listTokens(ctx: OrgCtx): Promise<TokenView[]> {
  return ctx.db.apiToken.findMany({ where: { orgId: ctx.orgId }, orderBy: { createdAt: "desc" }, select: visible });
}

/** Takes effect with the next request. Revoking twice keeps the first time. */
export async function revokeToken(ctx: OrgCtx, id: string): Promise<Result<TokenView, "token_not_found">> {
  await ctx.db.apiToken.updateMany({
    where: { id, orgId: ctx.orgId, revokedAt: null },
    data: { revokedAt: new Date() },
  });
  const row = await ctx.db.apiToken.findFirst({ where: { id, orgId: ctx.orgId }, select: visible });
  return row ? ok(row) : fail("token_not_found", "No such token in this organisation.");
}

/** `bearer` is the token itself, without the word before it. */
export async function authenticateToken(
  services: Services,
  bearer: string,
): Promise<Result<OrgCtx, "token_invalid" | "token_revoked">> {
  const unknown = fail("token_invalid", "This API token is not valid. Make one under API tokens in the dashboard.");
  if (!tokenPattern.test(bearer)) return unknown;
  const hash = hashToken(bearer);
  const row = await services.db.apiToken.findUnique({
    where: { tokenHash: hash },
    include: { org: { select: { slug: true } } },
  });
  if (!row || !timingSafeEqual(Buffer.from(row.tokenHash), Buffer.from(hash))) return unknown;
  if (row.revokedAt)
    return fail("token_revoked", `The API token ${row.prefix}… was revoked. Make another one in the dashboard.`);
  await touch(services, row.id, row.lastUsedAt);
  return ok({ ...services, orgId: row.orgId, orgSlug: row.org.slug, actor: { kind: "token", tokenId: row.id } });
}

/** One write a minute and token, not one a request. */
async function touch(services: Services, id: string, lastUsedAt: Date | null): Promise<void> {
  const now = new Date();
  const due = new Date(now.getTime() - LAST_USED_EVERY_MS);
  if (lastUsedAt !== null && lastUsedAt > due) return;
  await services.db.apiToken.updateMany({
    where: { id, OR: [{ lastUsedAt: null }, { lastUsedAt: { lte: due } }] },
    data: { lastUsedAt: now },
  });
}

async function ownerOf(ctx: OrgCtx): Promise<string | null> {
  switch (ctx.actor.kind) {
    case "user":
      return ctx.actor.userId;
    case "token": {
      const token = await ctx.db.apiToken.findUnique({ where: { id: ctx.actor.tokenId }, select: { userId: true } });
      return token?.userId ?? null;
    }
    case "system": {
      const owner = await ctx.db.membership.findFirst({
        where: { orgId: ctx.orgId, role: "owner" },
        select: { userId: true },
      });
      return owner?.userId ?? null;
    }
  }
}

function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
