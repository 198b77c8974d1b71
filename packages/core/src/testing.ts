// For tests: services on a database, a queue prefix and folders of their own, and an organisation to act for.
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTestDatabase } from "@grove/db/testing";
import { obliterate } from "@grove/queue";
import { closeServices, type CoreSettings, createServices, type OrgCtx, type Services } from "./context.ts";

export type TestWorld = { services: Services; ctx: OrgCtx; otherCtx: OrgCtx; folder: string; close: () => Promise<void> };

export async function createTestWorld(settings: Partial<CoreSettings> = {}): Promise<TestWorld> {
  const [database, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), "grove-core-"))]);
  const services = createServices({
    databaseUrl: database.url,
    redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:4611",
    queuePrefix: `test-${randomUUID().slice(0, 8)}`,
    storageFolder: join(folder, "objects"),
    workFolder: join(folder, "work"),
    gatewayUrl: "http://127.0.0.1:1",
    servingUrl: "http://127.0.0.1:1",
    internalSecret: "0123456789abcdef0123456789abcdef",
    baseModel: { id: "tiny", path: join(folder, "base") },
    python: join(import.meta.dirname, "../../../.venv/bin/python"),
    maxUploadBytes: 50_000_000,
    ...settings,
  });
  return {
    services,
    ctx: await organisation(services, "acme"),
    otherCtx: await organisation(services, "rival"),
    folder,
    async close() {
      await obliterate({ redisUrl: services.settings.redisUrl, prefix: services.settings.queuePrefix });
      await closeServices(services);
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function organisation(services: Services, slug: string): Promise<OrgCtx> {
  const org = await services.db.organisation.create({ data: { slug, name: slug } });
  return { ...services, orgId: org.id, orgSlug: slug, actor: { kind: "system" } };
}

export async function* bytesOf(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part;
}
