import { isAbsolute } from "node:path";
import { z } from "zod";

const url = z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, ""));
const folder = z.string().refine(isAbsolute, "Give an absolute path.");
const there = {
  url,
  model: z.string().min(1).optional(), // the base's name there; absent: our id of it
  apiKey: z.string().min(1).optional(),
};

/** The model server of one base model, by kind. apps/gateway/README.md says what each can express. */
export const upstreamSetting = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("grove"), url }),
  z.strictObject({ kind: z.literal("lorax"), url }),
  z.strictObject({
    kind: z.literal("vllm"),
    ...there,
    adapterFolder: folder.optional(), // shared with vLLM; absent: the base only
    adapterFolderThere: folder.optional(), // where vLLM sees that folder, if elsewhere
    maxLoadedAdapters: z.int().min(1).default(256),
  }),
  z.strictObject({
    kind: z.literal("openai"),
    ...there, // `url` as OpenAI's clients write it, with `/v1`
    adapters: z.record(z.string(), z.string().min(1)).default({}), // "org/repository/version@sha256" to a model there
    limitField: z.enum(["max_tokens", "max_completion_tokens"]).default("max_tokens"), // OpenAI's own chats want the second
    countTokens: z.enum(["refuse", "base"]).default("refuse"), // "base": its tokenizer is our base's, so we may count for it
  }),
]);
export type UpstreamSetting = z.infer<typeof upstreamSetting>;
export type UpstreamKind = UpstreamSetting["kind"];
export type SettingOf<K extends UpstreamKind> = Extract<UpstreamSetting, { kind: K }>;

const upstreamSettings = z.record(z.string(), upstreamSetting);

/** GROVE_UPSTREAMS: `{"<base model id>": {"kind": "vllm", "url": "http://…"}}`. */
export const upstreamsText = z.string().transform((text, context) => {
  try {
    return upstreamSettings.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : "It is not JSON.";
    context.addIssue({ code: "custom", message: `It is read as {"<base model id>": {"kind", "url", …}}. ${why}` });
    return z.NEVER;
  }
});
