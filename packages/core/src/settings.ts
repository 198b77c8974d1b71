import { resolve } from "node:path";
import { z } from "zod";
import type { CoreSettings } from "./context.ts";
import { upstreamsText } from "./serving/upstreams/setting.ts";

/** Nothing leaves this installation for a hub unless one is named. */
const hubAddress = z.union([z.literal(""), z.url({ protocol: /^https?$/ })]).optional();

const names = z
  .string()
  .transform((text) => text.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()])));

/** What every Grove process is told by its environment. Names and defaults live here; an app's `env.ts` passes `process.env` in. */
const coreEnv = z.object({
  DATABASE_URL: z.url(),
  REDIS_URL: z.url(),
  GROVE_DATA: z.string().min(1).default(".data"),
  GROVE_STORAGE_DIR: z.string().min(1).optional(), // absent: objects/ in the data folder
  GROVE_WORK_DIR: z.string().min(1).optional(), // absent: work/ in the data folder
  GROVE_INTERNAL_SECRET: z.string().min(16, "Use at least 16 random characters."),
  GROVE_GATEWAY_URL: z.url(),
  GROVE_SERVING_URL: z.url(),
  GROVE_BASE_MODEL: z.string().min(1),
  GROVE_BASE_MODEL_PATH: z.string().min(1),
  GROVE_BASE_ALIASES: names.default([]), // other models that configurations may name in its place
  GROVE_PYTHON: z.string().min(1).default("python3"),
  GROVE_QUEUE_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .default("grove"),
  GROVE_MAX_UPLOAD_BYTES: z.coerce.number().int().positive().default(2_000_000_000),
  GROVE_HUB_ENDPOINT: hubAddress,
  HF_ENDPOINT: hubAddress,
  GROVE_UPSTREAMS: upstreamsText.optional(), // absent: our own engine at GROVE_SERVING_URL
});

/** Throws with every wrong variable by name: a process must not start half-configured. */
export function loadCoreSettings(env: Record<string, string | undefined>): CoreSettings {
  const parsed = coreEnv.safeParse(env);
  if (!parsed.success) throw new Error(`The environment is not complete:\n${z.prettifyError(parsed.error)}`);
  const value = parsed.data;
  const data = resolve(value.GROVE_DATA);
  const upstreams = value.GROVE_UPSTREAMS ?? {};
  const unknown = Object.keys(upstreams).find((id) => id !== value.GROVE_BASE_MODEL);
  if (unknown !== undefined) {
    throw new Error(`GROVE_UPSTREAMS names ${JSON.stringify(unknown)}; the base model is ${value.GROVE_BASE_MODEL}.`);
  }
  return {
    databaseUrl: value.DATABASE_URL,
    redisUrl: value.REDIS_URL,
    queuePrefix: value.GROVE_QUEUE_PREFIX,
    storageFolder: resolve(value.GROVE_STORAGE_DIR ?? `${data}/objects`),
    workFolder: resolve(value.GROVE_WORK_DIR ?? `${data}/work`),
    gatewayUrl: value.GROVE_GATEWAY_URL.replace(/\/+$/, ""),
    servingUrl: value.GROVE_SERVING_URL.replace(/\/+$/, ""),
    upstreams,
    internalSecret: value.GROVE_INTERNAL_SECRET,
    baseModel: { id: value.GROVE_BASE_MODEL, path: resolve(value.GROVE_BASE_MODEL_PATH) },
    baseAliases: value.GROVE_BASE_ALIASES,
    python: value.GROVE_PYTHON,
    hubEndpoint: (value.GROVE_HUB_ENDPOINT || value.HF_ENDPOINT || "").replace(/\/+$/, "") || null,
    maxUploadBytes: value.GROVE_MAX_UPLOAD_BYTES,
  };
}
