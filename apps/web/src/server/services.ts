import "server-only";
import type { Services } from "@grove/core/context";
import { createDb } from "@grove/db";
import { createQueues } from "@grove/queue";
import { fileSystemStore } from "@grove/storage/file-system";
import { env } from "./env";

// On `globalThis`, since a development reload loads this module again and would open another pool each time.
const kept: { groveServices?: Services } = globalThis;

export function services(): Services {
  kept.groveServices ??= connect();
  return kept.groveServices;
}

function connect(): Services {
  const settings = env();
  return {
    db: createDb(settings.DATABASE_URL),
    queues: createQueues({ redisUrl: settings.REDIS_URL, prefix: settings.GROVE_QUEUE_PREFIX }),
    storage: fileSystemStore(settings.GROVE_STORAGE_DIR),
    settings: {
      gatewayUrl: settings.GROVE_GATEWAY_URL,
      servingUrl: settings.GROVE_SERVING_URL,
      internalSecret: settings.GROVE_INTERNAL_SECRET,
      baseModel: { id: settings.GROVE_BASE_MODEL, path: settings.GROVE_BASE_MODEL_PATH },
      workFolder: `${settings.GROVE_DATA}/work`,
      python: settings.GROVE_PYTHON,
    },
  };
}
