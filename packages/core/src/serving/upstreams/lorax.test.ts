// The wire is that of predibase/lorax at a7394ba: router/src/server.rs (headers, chat_completions_v1, completions_v1),
// router/src/lib.rs (GenerateParameters, ChatCompletionResponse and its chunks).
import { generateInput } from "@grove/contracts/serving";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { loadTokenCounter } from "../../datasets/tokens.ts";
import { authorizeRoute } from "../authorize.ts";
import { generate, generateStream } from "../generate.ts";
import { travel } from "../road.ts";
import { scoreLabels } from "../score.ts";
import { makeTinyModels, type TinyModels } from "../testing.ts";
import { pbaseToken } from "./pbase-names.ts";
import { all, fakeServer, type Heard, sendEvents, sendJson, type UpstreamWorld, upstreamWorld } from "./testing.ts";

let on: UpstreamWorld;
let models: TinyModels;
beforeAll(async () => {
  on = await upstreamWorld();
  models = await makeTinyModels(0);
}, 60_000);
afterAll(async () => {
  await on?.close();
  await models?.remove();
});

const forever = new AbortController().signal;
const prompt = (more: object = {}) =>
  generateInput.parse({ baseModel: "tiny", prompt: "once upon", maxNewTokens: 3, ...more });
const inLorax = () => `mine.1/${on.sha256}`;

function ctxOf(url: string) {
  const ctx = on.ctxOf({ kind: "lorax", url });
  return { ...ctx, settings: { ...ctx.settings, baseModel: models.base } };
}

const namesIn = z.looseObject({
  model: z.string().optional(),
  parameters: z.looseObject({ adapter_id: z.string().optional() }).optional(),
});
const chunkText = z.looseObject({ choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string() }) })) });

/** LoRAX tells which adapter it was asked for, and its counts. */
function headersOf({ body }: Heard): Record<string, string> {
  const { parameters, model } = namesIn.parse(body);
  const asked = parameters?.adapter_id ?? model ?? "";
  const counts = { "x-prompt-tokens": "9", "x-generated-tokens": "3", "x-model-id": "tiny" };
  return asked ? { ...counts, "x-adapter-id": asked, "x-adapter-source": "pbase" } : counts;
}
const details = { finish_reason: "length", prompt_tokens: 9, generated_tokens: 3, seed: null };
const token = (text: string) => ({ id: 1, text, logprob: -1, special: false, skipped: false });

describe("an adapter behind a stock LoRAX", () => {
  it("is asked for by its content's hash, with a token of its organisation, and shown under its own name", async () => {
    const lorax = await fakeServer((heard, response) =>
      sendJson(response, { generated_text: "abc", details }, 200, headersOf(heard)),
    );
    const call = on.newCall();
    const answer = await generate(ctxOf(lorax.url), prompt({ adapterIds: ["mine/1"] }), call, forever);
    expect(answer).toMatchObject({ ok: true, value: { text: "abc", adapter: `mine/1@${on.sha256}` } });
    const secret = on.world.services.settings.internalSecret;
    expect(lorax.heard[0]?.body).toMatchObject({
      parameters: { adapter_id: inLorax(), adapter_source: "pbase", api_token: pbaseToken(secret, "acme") },
    });
    expect(lorax.heard[0]?.headers.authorization).toBeUndefined(); // LoRAX would take it for a hub token
    expect(await on.billed(call)).toEqual([[9, 3, true]]);
    await lorax.close();
  });

  it("is not believed where LoRAX names another one, and that is free", async () => {
    const lorax = await fakeServer((_heard, response) =>
      sendJson(response, { generated_text: "abc", details }, 200, {
        "x-adapter-id": "mine.1/other",
        "x-prompt-tokens": "9",
        "x-generated-tokens": "3",
      }),
    );
    const call = on.newCall();
    expect(await generate(ctxOf(lorax.url), prompt({ adapterIds: ["mine/1"] }), call, forever)).toMatchObject({
      code: "generation_failed",
    });
    expect(await on.billed(call)).toEqual([]);
    await lorax.close();
  });

  it("streams LoRAX's own events, billed by their last one", async () => {
    const lorax = await fakeServer((heard, response) =>
      sendEvents(
        response,
        [
          { token: token("a"), generated_text: null, details: null },
          { token: token("b"), generated_text: "ab", details: { ...details, generated_tokens: 2 } },
        ],
        headersOf(heard),
      ),
    );
    const call = on.newCall();
    const chunks = await all(generateStream(ctxOf(lorax.url), prompt({ adapterIds: ["mine/1"] }), call, forever));
    expect(chunks.map((chunk) => chunk.type)).toEqual(["token", "token", "done"]);
    expect(await on.billed(call)).toEqual([[9, 2, true]]);
    await lorax.close();
  });
});

describe("OpenAI's routes over LoRAX's", () => {
  async function chat(url: string, more: Record<string, unknown>) {
    const ctx = ctxOf(url);
    const route = await authorizeRoute(ctx, "tiny", []);
    if (!route.ok) throw new Error(route.message);
    const body = { model: "tiny", messages: [{ role: "user", content: "x" }], ...more };
    const call = on.newCall();
    const request = {
      path: "/v1/chat/completions",
      dialect: "openai" as const,
      body,
      route: route.value,
      promptText: "x",
      promptFormat: "messages" as const,
    };
    return { answer: await travel(ctx, request, call, forever), call };
  }

  it("have OpenAI's ends and names: LoRAX keeps a stop sequence, calls that content_filter, and has no id", async () => {
    const lorax = await fakeServer((heard, response) =>
      sendJson(
        response,
        {
          id: "null",
          object: "text_completion",
          created: 1,
          model: "base",
          choices: [{ index: 0, message: { role: "assistant", content: "yes END" }, finish_reason: "content_filter" }],
          usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 },
        },
        200,
        headersOf(heard),
      ),
    );
    const { answer, call } = await chat(lorax.url, {
      stop: [" END"],
      temperature: 0,
      stream_options: { include_usage: true },
    });
    expect(answer).toMatchObject({
      value: {
        body: {
          id: expect.stringMatching(/^chatcmpl-/),
          object: "chat.completion",
          model: "tiny",
          choices: [{ message: { content: "yes" }, finish_reason: "stop" }],
        },
      },
    });
    expect(lorax.heard[0]?.body).toMatchObject({ model: "", temperature: 0, stop: [" END"] });
    expect(lorax.heard[0]?.body).not.toHaveProperty("stream_options");
    expect(await on.billed(call)).toEqual([[9, 3, false]]);
    await lorax.close();
  });

  it("hold back what may be a stop sequence, and send the counts in a chunk of their own", async () => {
    const chunk = (content: string, finish_reason: string | null) => ({
      id: "null",
      object: "chat.completion.chunk",
      created: 0,
      model: "null",
      choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason }],
      ...(finish_reason ? { usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } } : {}),
    });
    const lorax = await fakeServer((heard, response) =>
      sendEvents(
        response,
        [chunk("yes E", null), chunk("N", null), chunk("D", "content_filter"), "[DONE]"],
        headersOf(heard),
      ),
    );
    const { answer, call } = await chat(lorax.url, { stop: ["END"], stream: true });
    if (!answer.ok || answer.value.kind !== "stream") throw new Error(JSON.stringify(answer));
    const seen: unknown[] = [];
    for await (const event of answer.value.events) seen.push(event.json);
    const texts = seen.map((json) => chunkText.parse(json).choices[0]?.delta.content);
    expect(texts).toEqual(["yes ", "", "", undefined]);
    expect(seen.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    expect(await on.billed(call)).toEqual([[9, 3, false]]);
    await lorax.close();
  });

  it.each([
    [{ n: 2 }, "`n`"],
    [{ logprobs: true }, "`logprobs`"],
    [{ tools: [{}], stream: true }, "`tools`"],
    [{ tool_choice: "required" }, "`tool_choice`"],
  ])("refuse %j by name, since LoRAX would answer something else", async (more, name) => {
    const { answer } = await chat("http://127.0.0.1:9", more);
    expect(answer).toMatchObject({ code: "upstream_unsupported", message: expect.stringContaining(name) });
  });
});

describe("labels behind LoRAX", () => {
  const ask = {
    baseModel: "tiny",
    adapterId: null,
    prompt: "Q:",
    continuations: ["yes", "no"],
    applyChatTemplate: false,
  };
  const prefillOf = async (text: string) => {
    const counter = await loadTokenCounter(models.base.path);
    return counter.encode(text, true).map((id, i) => ({ id, text: "", logprob: i === 0 ? null : -1 }));
  };

  it("are scored by the log-probabilities of a prompt that holds them", async () => {
    const lorax = await fakeServer(async (heard, response) =>
      sendJson(
        response,
        {
          generated_text: "",
          details: { ...details, prefill: await prefillOf(String(heard.body.inputs)), tokens: [] },
        },
        200,
        headersOf(heard),
      ),
    );
    const call = on.newCall();
    const scored = await scoreLabels(ctxOf(lorax.url), ask, call, forever);
    expect(scored).toMatchObject({
      ok: true,
      value: {
        scores: [
          { logprob: -4, tokens: 4 },
          { logprob: -3, tokens: 3 },
        ],
        promptTokens: 2,
      },
    });
    expect(await on.billed(call)).toEqual([[9, 0, false]]);
    await lorax.close();
  });

  it("are refused where LoRAX reads them as other tokens than training did", async () => {
    const lorax = await fakeServer(async (heard, response) =>
      sendJson(
        response,
        {
          generated_text: "",
          details: { ...details, prefill: (await prefillOf(String(heard.body.inputs))).slice(1), tokens: [] },
        },
        200,
        headersOf(heard),
      ),
    );
    expect(await scoreLabels(ctxOf(lorax.url), ask, on.newCall(), forever)).toMatchObject({
      code: "upstream_unsupported",
    });
    await lorax.close();
  });
});
