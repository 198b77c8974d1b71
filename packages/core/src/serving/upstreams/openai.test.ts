import { createServer } from "node:http";
import { generateInput } from "@grove/contracts/serving";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCoreSettings } from "../../settings.ts";
import { generate, generateStream } from "../generate.ts";
import { scoreLabels } from "../score.ts";
import { listen, makeTinyModels, startEngine, type TestEngine, type TinyModels } from "../testing.ts";
import type { SettingOf } from "./setting.ts";
import { all, fakeServer, sendEvents, sendJson, type UpstreamWorld, upstreamWorld } from "./testing.ts";

let on: UpstreamWorld;
let models: TinyModels;
let engine: TestEngine; // our own engine's /v1: a server that speaks OpenAI's protocol
beforeAll(async () => {
  models = await makeTinyModels(0);
  engine = await startEngine(models, { gatewayUrl: "http://127.0.0.1:9" });
  on = await upstreamWorld();
}, 90_000);
afterAll(async () => {
  await engine?.stop();
  await on?.close();
  await models?.remove();
});

const forever = new AbortController().signal;
const prompt = (more: object = {}) =>
  generateInput.parse({ baseModel: "tiny", prompt: "once upon", maxNewTokens: 5, ...more });
const openAi = (url: string, more: Partial<SettingOf<"openai">> = {}): SettingOf<"openai"> => ({
  kind: "openai",
  url: `${url}/v1`,
  adapters: {},
  limitField: "max_tokens",
  countTokens: "refuse",
  ...more,
});

describe("a server that speaks OpenAI's protocol", () => {
  it("answers LoRAX's prompts whole and streamed alike, each billed by its counts", async () => {
    const ctx = on.ctxOf(openAi(engine.url));
    const [whole, streamed] = [on.newCall(), on.newCall()];
    const answer = await generate(ctx, prompt(), whole, forever);
    const last = (await all(generateStream(ctx, prompt(), streamed, forever))).at(-1);
    if (!answer.ok || last?.type !== "done") throw new Error(JSON.stringify([answer, last]));
    expect(answer.value).toMatchObject({ promptTokens: 9, completionTokens: 5, finishReason: "length", adapter: null });
    expect(last.result).toMatchObject({ text: answer.value.text, completionTokens: 5 });
    expect([...(await on.billed(whole)), ...(await on.billed(streamed))]).toEqual([
      [9, 5, false],
      [9, 5, false],
    ]);
  });

  it.each([
    ["an adapter that nothing is mapped to", { adapterIds: ["mine/1"] }, "maps no model"],
    ["a stop sequence, which LoRAX keeps and OpenAI drops", { stop: ["."] }, "`stop`"],
  ])("refuses %s by name, unbilled", async (_what, more, message) => {
    const call = on.newCall();
    const refused = await generate(on.ctxOf(openAi(engine.url)), prompt(more), call, forever);
    expect(refused).toMatchObject({
      ok: false,
      code: "upstream_unsupported",
      message: expect.stringContaining(message),
    });
    expect(await on.billed(call)).toEqual([]);
  });

  it("gets the limit of a chat under the name that it knows", async () => {
    const body = {
      id: "1",
      created: 1,
      model: "m",
      choices: [{ index: 0, message: { content: "x" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    };
    const server = await fakeServer((_heard, response) => sendJson(response, body));
    const ctx = on.ctxOf(openAi(server.url, { limitField: "max_completion_tokens" }));
    expect(await generate(ctx, prompt({ applyChatTemplate: true }), on.newCall(), forever)).toMatchObject({
      ok: true,
      value: { text: "x" },
    });
    await generate(ctx, prompt(), on.newCall(), forever);
    expect(server.heard.map((one) => [one.body.max_completion_tokens, one.body.max_tokens])).toEqual([
      [5, undefined],
      [undefined, 5],
    ]);
    await server.close();
  });

  it("refuses to score labels, in words that an evaluation can show", async () => {
    const ask = {
      baseModel: "tiny",
      adapterId: null,
      prompt: "x",
      continuations: ["a", "b"],
      applyChatTemplate: false,
    };
    expect(await scoreLabels(on.ctxOf(openAi(engine.url)), ask, on.newCall(), forever)).toMatchObject({
      code: "upstream_unsupported",
      message: expect.stringContaining("log-probabilities"),
    });
  });

  it("stands for an adapter only as the model that it is mapped to, under a dated name or its own", async () => {
    const name = `acme/mine/1@${on.sha256}`;
    const answerAs = async (model: string) => {
      const body = {
        id: "1",
        created: 1,
        model,
        choices: [{ index: 0, text: "x", finish_reason: "stop" }],
        usage: { prompt_tokens: 1, completion_tokens: 1 },
      };
      const server = await fakeServer((_heard, response) => sendJson(response, body));
      const ctx = on.ctxOf(openAi(server.url, { adapters: { [name]: "tuned" }, apiKey: "sk-1" }));
      const answer = await generate(ctx, prompt({ adapterIds: ["mine/1"] }), on.newCall(), forever);
      await server.close();
      expect(server.heard[0]).toMatchObject({ body: { model: "tuned" }, headers: { authorization: "Bearer sk-1" } });
      return answer;
    };
    expect(await answerAs("tuned-2026-01-31")).toMatchObject({ ok: true, value: { adapter: `mine/1@${on.sha256}` } });
    expect(await answerAs("tuned-mini")).toMatchObject({ ok: false, code: "generation_failed" });
  });
});

it("ends a stream in which another model speaks, and that is free", async () => {
  const chunk = (model: string) => ({ id: "1", created: 1, model, choices: [{ index: 0, text: "a" }], usage: null });
  const server = await fakeServer((_heard, response) =>
    sendEvents(response, [chunk("tuned"), chunk("tuned"), chunk("base"), chunk("tuned"), "[DONE]"]),
  );
  const setting = openAi(server.url, { adapters: { [`acme/mine/1@${on.sha256}`]: "tuned" } });
  const call = on.newCall();
  const chunks = await all(generateStream(on.ctxOf(setting), prompt({ adapterIds: ["mine/1"] }), call, forever));
  expect(chunks.map((one) => one.type)).toEqual(["token", "error"]);
  expect(await on.billed(call)).toEqual([]);
  await server.close();
});

describe("a stream without counts", () => {
  async function withoutUsage(more: Partial<SettingOf<"openai">>) {
    const chunk = (text: string, finish_reason: string | null) => ({
      id: "1",
      created: 1,
      model: "tiny",
      choices: [{ index: 0, text, finish_reason }],
    });
    const server = await fakeServer((_heard, response) =>
      sendEvents(response, [chunk("ab", null), chunk("c", "stop"), "[DONE]"]),
    );
    const ctx = on.ctxOf(openAi(server.url, more));
    const settings = { ...ctx.settings, baseModel: models.base };
    const call = on.newCall();
    const last = (await all(generateStream({ ...ctx, settings }, prompt(), call, forever))).at(-1);
    await server.close();
    return { last, billed: await on.billed(call) };
  }

  it("ends with an error, unbilled, where nobody may count it", async () => {
    const { last, billed } = await withoutUsage({});
    expect(last).toMatchObject({ type: "error", message: expect.stringContaining("how many tokens") });
    expect(billed).toEqual([]);
  });

  it("is counted by the base's tokenizer where the setting says that it fits", async () => {
    const { last, billed } = await withoutUsage({ countTokens: "base" });
    expect(last).toMatchObject({ type: "done", result: { text: "abc", promptTokens: 9, completionTokens: 3 } });
    expect(billed).toEqual([[9, 3, false]]);
  });
});

it("is asked once more while it starts, and not after its first byte", async () => {
  let asked = 0;
  const server = await listen(
    createServer((_request, response) => {
      if (++asked === 1) return response.writeHead(503).end();
      response.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = { id: "1", model: "tiny", choices: [{ index: 0, text: "a" }] };
      return response.write(`data: ${JSON.stringify(chunk)}\n\ndata: ${JSON.stringify(chunk)}\n\n`, () =>
        response.destroy(),
      );
    }),
  );
  const chunks = await all(generateStream(on.ctxOf(openAi(server.url)), prompt(), on.newCall(), forever));
  expect(chunks.map((chunk) => chunk.type)).toEqual(["token", "error"]);
  expect(asked).toBe(2);
  await server.close();
});

describe("GROVE_UPSTREAMS", () => {
  const env = {
    DATABASE_URL: "postgresql://x@127.0.0.1/x",
    REDIS_URL: "redis://127.0.0.1",
    GROVE_INTERNAL_SECRET: "0123456789abcdef",
    GROVE_GATEWAY_URL: "http://127.0.0.1:1",
    GROVE_SERVING_URL: "http://127.0.0.1:2",
    GROVE_BASE_MODEL: "tiny",
    GROVE_BASE_MODEL_PATH: "/tmp",
  };
  it.each([
    ["{", "not JSON"],
    ['{"tiny": {"kind": "triton", "url": "http://x"}}', "kind"],
    ['{"tiny": {"kind": "vllm", "url": "ftp://x"}}', "url"],
    ['{"tiny": {"kind": "vllm", "url": "http://x", "adapterFolder": "here"}}', "absolute path"],
    ['{"tiny": {"kind": "lorax", "url": "http://x", "apikey": "k"}}', "apikey"],
    ['{"other": {"kind": "lorax", "url": "http://x"}}', "the base model is tiny"],
  ])("%s stops the start with the reason", (text, reason) => {
    expect(() => loadCoreSettings({ ...env, GROVE_UPSTREAMS: text })).toThrow(reason);
  });
  it("names the server of a base model", () => {
    const upstreams = '{"tiny": {"kind": "lorax", "url": "http://lorax:3000/"}}';
    expect(loadCoreSettings({ ...env, GROVE_UPSTREAMS: upstreams }).upstreams).toEqual({
      tiny: { kind: "lorax", url: "http://lorax:3000" },
    });
  });
});
