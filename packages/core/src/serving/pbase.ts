import type { Readable } from "node:stream";
import { adapterFileNames } from "@grove/contracts/adapters";
import { type ErrorCode, fail, ok, type Result } from "@grove/contracts/errors";
import { authenticateToken } from "../accounts/tokens.ts";
import { adapterFileKey } from "../adapters/files.ts";
import { resolveAdapter } from "../adapters/resolve.ts";
import type { Services } from "../context.ts";
import { orgOfPbaseToken } from "./upstreams/pbase-names.ts";

/** The bucket that LoRAX is sent to; its keys are `<sha256>/<file>`. */
export const adapterBucket = "grove-adapters";
const hash = /^[0-9a-f]{64}$/;

export type PbaseVersion = { repo: string; tag: string; baseModel: string; adapterPath: string };

/**
 * What LoRAX's pbase source asks: a version as a user names it, with the user's token; or, from the gateway's own prompts,
 * a name that holds the content's hash (`pbaseName`), with the token that goes with it.
 */
export async function resolvePbase(
  services: Services,
  bearer: string,
  name: string,
  version: string,
): Promise<Result<PbaseVersion, ErrorCode>> {
  const slug = orgOfPbaseToken(services.settings.internalSecret, bearer);
  if (slug !== null) return byContent(services, slug, name, version);
  const ctx = await authenticateToken(services, bearer);
  if (!ctx.ok) return ctx;
  const found = await resolveAdapter(ctx.value, `${name}/${version}`);
  if (!found.ok) return found;
  const { base_model: baseModel, sha256 } = found.value;
  return ok({ repo: name, tag: version, baseModel, adapterPath: pathOf(sha256) });
}

async function byContent(
  services: Services,
  orgSlug: string,
  name: string,
  sha256: string,
): Promise<Result<PbaseVersion, "adapter_not_found">> {
  const wanted = {
    where: { sha256, repository: { org: { slug: orgSlug } } },
    select: { repository: { select: { baseModel: true } } },
  };
  const row = hash.test(sha256)
    ? ((await services.db.adapterVersion.findFirst(wanted)) ?? (await services.db.adapterCheckpoint.findFirst(wanted)))
    : null;
  if (!row) return fail("adapter_not_found", `The organisation ${orgSlug} has no adapter of that content.`);
  return ok({ repo: name, tag: sha256, baseModel: row.repository.baseModel, adapterPath: pathOf(sha256) });
}

function pathOf(sha256: string): string {
  return `s3://${adapterBucket}/${sha256}`;
}

export type BucketEntry = { key: string; bytes: number; modifiedAt: Date };

/** The files below a prefix that begins with a whole hash: nobody can list what adapters there are. */
export async function listBucket(services: Services, prefix: string): Promise<BucketEntry[]> {
  const sha256 = prefix.slice(0, 64);
  if (!hash.test(sha256)) return [];
  const entries = await Promise.all(adapterFileNames.map((name) => headOf(services, `${sha256}/${name}`)));
  return entries.flatMap((entry) => (entry?.key.startsWith(prefix) ? [entry] : []));
}

export async function headOf(services: Services, key: string): Promise<BucketEntry | null> {
  const stored = storedKey(key);
  const head = stored === null ? null : await services.storage.head(stored);
  return head && { key, bytes: head.bytes, modifiedAt: head.modifiedAt };
}

/** Both ends of the range inclusive. */
export async function openKey(
  services: Services,
  key: string,
  range: { start: number; end: number },
): Promise<Readable | null> {
  const stored = storedKey(key);
  return stored === null ? null : services.storage.get(stored, range);
}

function storedKey(key: string): string | null {
  const [sha256 = "", file = "", ...more] = key.split("/");
  const name = adapterFileNames.find((one) => one === file);
  return name !== undefined && hash.test(sha256) && more.length === 0 ? adapterFileKey(sha256, name) : null;
}
