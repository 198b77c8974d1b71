import { createDb, type PrismaClient } from "@grove/db";
import { createQueues, type Queues } from "@grove/queue";
import type { ObjectStore } from "@grove/storage";
import { fileSystemStore } from "@grove/storage/file-system";
import type { UpstreamSetting } from "./serving/upstreams/setting.ts";

export type CoreSettings = {
  databaseUrl: string;
  redisUrl: string;
  queuePrefix: string;
  storageFolder: string;
  workFolder: string; // scratch of this machine: rendered rows, checkpoints
  gatewayUrl: string;
  servingUrl: string; // our own engine
  upstreams: Record<string, UpstreamSetting>; // by base model; one that is not named has our own engine
  internalSecret: string;
  baseModel: { id: string; path: string };
  baseAliases: string[]; // models that a configuration from elsewhere may name for it, and be trained on it
  python: string;
  hubEndpoint: string | null; // the one hub that adapters may be pushed to and pulled from; null: none
  maxUploadBytes: number;
};

/** Made once per process and passed on. */
export type Services = { db: PrismaClient; queues: Queues; storage: ObjectStore; settings: CoreSettings };
export type Actor = { kind: "user"; userId: string } | { kind: "token"; tokenId: string } | { kind: "system" };
/** Who asks, for which organisation: the first argument of everything a person or a program may call. */
export type OrgCtx = Services & { orgId: string; orgSlug: string; actor: Actor };

/** Connects at first use, so it may be called where Postgres and Redis are not up yet. */
export function createServices(settings: CoreSettings): Services {
  return {
    db: createDb(settings.databaseUrl),
    queues: createQueues({ redisUrl: settings.redisUrl, prefix: settings.queuePrefix }),
    storage: fileSystemStore(settings.storageFolder),
    settings,
  };
}

export async function closeServices(services: Services): Promise<void> {
  await services.queues.close();
  await services.db.$disconnect();
}
