import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PromptFormat } from "@grove/contracts/datasets";
import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import { z } from "zod";

/** Counts as the trainer does (lora_py/prompts.py): prompt and completion apart, a space between them where it adds one, and EOS. */
export type TokenCounter = {
  contextLength: number;
  hasChatTemplate: boolean;
  turnWithoutBos(prompt: string): string; // one user turn of the chat template, for a server that puts the BOS in front itself
  encode(text: string, addSpecialTokens: boolean): number[];
  countPrompt(prompt: string, format: PromptFormat): number;
  countCompletion(prompt: string, completion: string, format: PromptFormat): number;
};

const modelConfig = z.object({ max_position_embeddings: z.int().positive().default(2048) });
const specialText = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish();
const tokenizerConfig = z.object({
  chat_template: z.unknown(),
  bos_token: specialText,
  eos_token: specialText,
  unk_token: specialText,
  pad_token: specialText,
});
const namedTemplates = z.array(z.object({ name: z.string(), template: z.string() }));

const loaded = new Map<string, Promise<TokenCounter>>();

/** Read once per process and folder: a tokenizer takes a second to build. */
export function loadTokenCounter(basePath: string): Promise<TokenCounter> {
  const before = loaded.get(basePath);
  if (before) return before;
  const counter = load(basePath);
  loaded.set(basePath, counter);
  counter.catch(() => loaded.delete(basePath));
  return counter;
}

async function load(basePath: string): Promise<TokenCounter> {
  const [tokenizerFile, configFile, modelFile] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json", "config.json"].map((name) => readJson(join(basePath, name))),
  );
  const config = tokenizerConfig.parse(configFile);
  const template = chatTemplate(config.chat_template);
  const tokenizer = new Tokenizer(
    z.record(z.string(), z.unknown()).parse(tokenizerFile),
    z.record(z.string(), z.unknown()).parse(configFile),
  );
  const special = {
    bos_token: config.bos_token ?? "",
    eos_token: config.eos_token ?? "",
    unk_token: config.unk_token ?? "",
    pad_token: config.pad_token ?? "",
  };

  function oneTurn(prompt: string): string {
    if (template === null) throw new Error("The base model has no chat template.");
    return template.render({ ...special, messages: [{ role: "user", content: prompt }], add_generation_prompt: true });
  }

  return {
    contextLength: modelConfig.parse(modelFile).max_position_embeddings,
    hasChatTemplate: template !== null,
    turnWithoutBos(prompt) {
      const turn = oneTurn(prompt);
      const putInFront = tokenizer.encode("").ids.length > 0 && special.bos_token !== "";
      return putInFront && turn.startsWith(special.bos_token) ? turn.slice(special.bos_token.length) : turn;
    },
    encode: (text, addSpecialTokens) => tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids,
    countPrompt(prompt, format) {
      const encoded =
        format === "raw" ? tokenizer.encode(prompt) : tokenizer.encode(oneTurn(prompt), { add_special_tokens: false });
      return Math.max(1, encoded.ids.length);
    },
    countCompletion(prompt, completion, format) {
      const spaced = format === "raw" && prompt !== "" && !/\s$/.test(prompt) && !/^\s/.test(completion);
      return tokenizer.encode(spaced ? ` ${completion}` : completion, { add_special_tokens: false }).ids.length + 1;
    },
  };
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, "utf8"));
}

function chatTemplate(value: unknown): Template | null {
  const named = namedTemplates.safeParse(value);
  const source = named.success ? named.data.find((entry) => entry.name === "default")?.template : value;
  return typeof source === "string" && source !== "" ? new Template(source) : null;
}
