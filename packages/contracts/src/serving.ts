import { z } from "zod";

export type BaseModelView = {
  id: string;
  name: string;
  contextLength: number;
  parameters: string;
  chatTemplate: boolean;
};

/** One prompt, whoever asks: playground, evaluation or public API. Bounds of sampling are checked by serving. */
export const generateInput = z.strictObject({
  baseModel: z.string().min(1),
  adapterIds: z.array(z.string()).max(8).default([]), // none: the base itself; one in all but merged requests
  prompt: z.string(),
  maxNewTokens: z.int().min(1).nullable().default(null),
  temperature: z.number().min(0).nullable().default(null),
  stop: z.array(z.string()).default([]),
  seed: z.int().min(0).nullable().default(null),
  applyChatTemplate: z.boolean().default(false),
});
export type GenerateInput = z.infer<typeof generateInput>;
export type GenerateRequest = z.input<typeof generateInput>;

export const usageSources = ["api", "playground", "evaluation"] as const;
export type UsageSource = (typeof usageSources)[number];

export type Generated = {
  text: string;
  finishReason: "length" | "eos_token" | "stop_sequence";
  promptTokens: number;
  completionTokens: number;
  milliseconds: number;
  timeToFirstTokenMs: number | null;
  costMicroUsd: bigint;
  adapter: string | null; // "repository/version@sha256", as the engine reported it
};
/** Streams end with `done` or with `error`, never without one of them. */
export type GenerateChunk =
  | { type: "token"; text: string }
  | { type: "done"; result: Generated }
  | { type: "error"; code: string; message: string };

/** Playground: the columns of the adapter's own template, rendered on the server. `adapterId` null: the base answers the same prompt. */
export const playgroundInput = z.strictObject({
  adapterId: z.string(), // whose template and prompt format is used
  side: z.enum(["adapter", "base"]),
  values: z.record(z.string(), z.string()),
  maxNewTokens: z.int().min(1).max(1024).default(128),
  temperature: z.number().min(0).max(2).default(0),
});
export type PlaygroundInput = z.infer<typeof playgroundInput>;

export const scoreInput = z.strictObject({
  baseModel: z.string().min(1),
  adapterId: z.string().nullable(),
  prompt: z.string(),
  continuations: z.array(z.string().min(1)).min(2).max(256),
  applyChatTemplate: z.boolean().default(false),
});
export type ScoreInput = z.infer<typeof scoreInput>;

export const adapterStates = ["fetching", "ready", "resident", "evicted", "failed"] as const;
/** `GET /adapters` of serving. */
export const servedAdapters = z.object({
  adapters: z.array(
    z
      .object({
        id: z.string(),
        tenant: z.string(),
        sha256: z.string(),
        state: z.enum(adapterStates),
        rank: z.int(),
        bytes: z.int(),
        hits: z.int(),
        last_use: z.number(), // seconds since 1970; 0 for never
        error: z.string().nullable(),
      })
      .transform(({ id, last_use, rank, bytes, ...same }) => ({
        ...same,
        adapterId: id,
        rank: rank === 0 ? null : rank,
        bytes: bytes === 0 ? null : bytes,
        lastUse: last_use === 0 ? null : new Date(last_use * 1000),
      })),
  ),
});
/** What the model server's memory knows of an adapter; null where it does not tell, or does not know yet. */
export type ServedAdapterView = {
  adapterId: string;
  sha256: string;
  state: (typeof adapterStates)[number];
  rank: number | null;
  bytes: number | null;
  hits: number | null;
  lastUse: Date | null;
  error: string | null;
};
/** `adapters` null: this kind of model server does not tell which ones it holds. */
export type ServedAdaptersView = { server: string; adapters: ServedAdapterView[] | null };
