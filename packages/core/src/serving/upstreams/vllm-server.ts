import { fail, ok } from "@grove/contracts/errors";
import { z } from "zod";
import type { OrgCtx } from "../../context.ts";
import { refusalOf } from "../refusal.ts";
import { bearer, callServer, patienceMs, readBody, traceOf } from "./http.ts";
import { unsupported } from "./native-parameters.ts";
import type { SettingOf } from "./setting.ts";
import type { Asked, PromptRequest } from "./upstream.ts";
import { VllmAdapters } from "./vllm-adapters.ts";

export type Tokenized = { ids: number[]; maxLength: number };
export type Sent = { model: string; response: Response };

const tokenizeAnswer = z.looseObject({ tokens: z.array(z.int()), max_model_len: z.int() });
const MAX_REMEMBERED = 4096;

/** vLLM's routes as the rest of the upstream needs them. */
export class VllmServer {
  readonly setting: SettingOf<"vllm">;
  readonly #base: string;
  readonly #adapters: VllmAdapters;
  readonly #pieces = new Map<string, number[]>(); // labels are the same for every row of an evaluation

  constructor(setting: SettingOf<"vllm">, base: { id: string }) {
    this.setting = setting;
    this.#base = setting.model ?? base.id;
    this.#adapters = new VllmAdapters(setting);
  }

  /** Sends with the route's adapter loaded. One that vLLM has lost since is loaded again: nothing has been answered yet. */
  async complete(
    ctx: OrgCtx,
    request: PromptRequest,
    path: "/v1/completions" | "/v1/chat/completions",
    body: Record<string, unknown>,
    signal: AbortSignal,
  ): Asked<Sent> {
    const [adapter, second] = request.route.adapters;
    if (second !== undefined) return unsupported("vllm", "merged_adapters");
    for (let tries = 0; ; tries++) {
      const model = adapter === undefined ? ok(this.#base) : await this.#adapters.ensure(ctx, adapter);
      if (!model.ok) return model;
      const sent = await this.#post(path, { ...body, model: model.value }, signal, traceOf(request));
      if (!sent.ok) return sent;
      if (sent.value.status !== 404 || adapter === undefined || tries > 0)
        return ok({ model: model.value, response: sent.value });
      await sent.value.body?.cancel();
      this.#adapters.forget(model.value);
    }
  }

  /** A prompt's tokens: as written, with what the tokenizer puts in front, or as one turn of the chat template. */
  async tokenize(text: string, format: "raw" | "chat", signal: AbortSignal): Asked<Tokenized> {
    const body =
      format === "raw"
        ? { model: this.#base, prompt: text }
        : { model: this.#base, messages: [{ role: "user", content: text }], add_generation_prompt: true };
    return this.#tokenize(body, signal);
  }

  /** A text's own tokens, with nothing in front. */
  async piece(text: string, signal: AbortSignal): Asked<number[]> {
    const before = this.#pieces.get(text);
    if (before) return ok(before);
    const body = { model: this.#base, prompt: text, add_special_tokens: false };
    const tokenized = await this.#tokenize(body, signal);
    if (!tokenized.ok) return tokenized;
    if (this.#pieces.size >= MAX_REMEMBERED) this.#pieces.clear();
    this.#pieces.set(text, tokenized.value.ids);
    return ok(tokenized.value.ids);
  }

  async get(path: string, signal: AbortSignal, patience = patienceMs): Asked<unknown> {
    const { url, apiKey } = this.setting;
    const sent = await callServer(url, { method: "GET", path, headers: bearer(apiKey) }, signal, patience);
    if (!sent.ok) return sent;
    const body = await readBody(sent.value);
    return sent.value.ok ? ok(body) : refusalOf(sent.value.status, body);
  }

  async #tokenize(body: unknown, signal: AbortSignal): Asked<Tokenized> {
    const sent = await this.#post("/tokenize", body, signal);
    if (!sent.ok) return sent;
    const answer = await readBody(sent.value);
    if (!sent.value.ok) return refusalOf(sent.value.status, answer);
    const parsed = tokenizeAnswer.safeParse(answer);
    if (!parsed.success) return fail("generation_failed", "vLLM's /tokenize could not be read.");
    return ok({ ids: parsed.data.tokens, maxLength: parsed.data.max_model_len });
  }

  #post(path: string, body: unknown, signal: AbortSignal, headers: Record<string, string> = {}) {
    const { url, apiKey } = this.setting;
    return callServer(url, { method: "POST", path, body, headers: { ...headers, ...bearer(apiKey) } }, signal);
  }
}
