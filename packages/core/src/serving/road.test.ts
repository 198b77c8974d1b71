import { createServer } from "node:http";
import type { GenerateChunk, GenerateInput, GenerateRequest } from "@grove/contracts/serving";
import { generateInput } from "@grove/contracts/serving";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OrgCtx } from "../context.ts";
import { createTestWorld, type TestWorld } from "../testing.ts";
import { generate, generateStream } from "./generate.ts";
import { runPlayground } from "./playground.ts";
import type { PromptCall } from "./road.ts";
import { scoreLabels } from "./score.ts";
import { listServedAdapters } from "./served-adapters.ts";
import {
  adapterFileServer,
  emptyDataset,
  type LocalServer,
  listen,
  makeTinyModels,
  publishAdapter,
  startEngine,
  type TestEngine,
  type TinyModels,
} from "./testing.ts";

let world: TestWorld;
let models: TinyModels;
let files: LocalServer;
let engine: TestEngine;
let mine: string;
let foreign: string;
let calls = 0;

beforeAll(async () => {
  models = await makeTinyModels(2);
  files = await listen(adapterFileServer(() => world.services.storage));
  engine = await startEngine(models, { gatewayUrl: files.url });
  world = await createTestWorld({ servingUrl: engine.url, baseModel: models.base });
  mine = await publishAdapter(world.ctx, adapter(0), { repository: "mine", datasetId: await emptyDataset(world.ctx) });
  foreign = await publishAdapter(world.otherCtx, adapter(1), {
    repository: "foreign",
    datasetId: await emptyDataset(world.otherCtx),
  });
}, 90_000);
afterAll(async () => {
  await engine?.stop();
  await files?.close();
  await world?.close();
  await models?.remove();
});

function adapter(index: number) {
  const one = models.adapters[index];
  if (!one) throw new Error("not made");
  return one;
}
function prompt(changes: Partial<GenerateRequest> = {}): GenerateInput {
  return generateInput.parse({ baseModel: "tiny", prompt: "once upon a time", maxNewTokens: 12, ...changes });
}
function newCall(): PromptCall {
  calls += 1;
  return { source: "api", key: `prompt-test-${calls}` };
}
async function billed(call: PromptCall) {
  return world.services.db.usageEvent.findMany({
    where: { idempotencyKey: call.key },
    include: { adapterVersion: { select: { sha256: true } } },
  });
}
async function all(chunks: AsyncIterable<GenerateChunk>): Promise<GenerateChunk[]> {
  const found: GenerateChunk[] = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}
const forever = new AbortController().signal;
const elsewhere = (url: string): OrgCtx => ({ ...world.ctx, settings: { ...world.ctx.settings, servingUrl: url } });

describe("generate", () => {
  it("answers with the adapter that was asked for, and not as the base does", async () => {
    const [base, tuned] = [
      await generate(world.ctx, prompt(), newCall(), forever),
      await generate(world.ctx, prompt({ adapterIds: [mine] }), newCall(), forever),
    ];
    if (!base.ok || !tuned.ok) throw new Error(JSON.stringify([base, tuned]));
    expect(base.value.adapter).toBeNull();
    expect(tuned.value.adapter).toBe(`mine/1@${adapter(0).sha256}`);
    expect(tuned.value.text).not.toBe(base.value.text);
    expect(tuned.value).toMatchObject({ promptTokens: 16, completionTokens: 12, finishReason: "length" });
  });

  it("books one row a key, with adapter, tokens and cost, however often it repeats", async () => {
    const call = newCall();
    const [first, second] = [
      await generate(world.ctx, prompt({ adapterIds: [mine] }), call, forever),
      await generate(world.ctx, prompt({ maxNewTokens: 3 }), call, forever),
    ];
    const rows = await billed(call);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({
      promptTokens: 16,
      completionTokens: 12,
      source: "api",
      kind: "inference",
      adapterVersion: { sha256: adapter(0).sha256 },
    });
    expect(first.ok && second.ok && [first.value.costMicroUsd, second.value.costMicroUsd]).toEqual([
      rows[0]?.costMicroUsd,
      rows[0]?.costMicroUsd,
    ]);
  });

  it.each([
    ["another organisation's adapter", () => foreign, "adapter_not_found"],
    ["an adapter that does not exist", () => "nothing/1", "adapter_not_found"],
    ["a path instead of an id", () => "../../etc/passwd", "invalid_input"],
    ["an absolute path", () => "/etc/passwd", "invalid_input"],
    ["an id with a line break", () => "mine/1\nx: y", "invalid_input"],
  ])("refuses %s and books nothing", async (_what, id, code) => {
    const call = newCall();
    expect(await generate(world.ctx, prompt({ adapterIds: [id()] }), call, forever)).toMatchObject({ ok: false, code });
    expect(await billed(call)).toEqual([]);
  });

  it("says which base model is served when another is asked for", async () => {
    expect(await generate(world.ctx, prompt({ baseModel: "gpt-9" }), newCall(), forever)).toMatchObject({
      ok: false,
      code: "base_model_not_found",
    });
  });

  it("passes on why serving refuses a prompt, unbilled", async () => {
    const call = newCall();
    const refused = await generate(world.ctx, prompt({ prompt: "x".repeat(600) }), call, forever);
    expect(refused).toMatchObject({ ok: false, code: "invalid_input", message: expect.stringContaining("600") });
    expect(await billed(call)).toEqual([]);
  });

  it("throws away an answer whose adapter the engine does not confirm", async () => {
    const headers = { "content-type": "application/json", "x-prompt-tokens": "3", "x-generated-tokens": "3" };
    const liar = await listen(
      createServer((_request, response) =>
        response.writeHead(200, headers).end('{"generated_text":"base","details":{"finish_reason":"length"}}'),
      ),
    );
    const call = newCall();
    expect(await generate(elsewhere(liar.url), prompt({ adapterIds: [mine] }), call, forever)).toMatchObject({
      ok: false,
      code: "generation_failed",
    });
    expect(await billed(call)).toEqual([]);
    await liar.close();
  });
});

describe("generateStream", () => {
  it("streams what generate answers, and bills exactly that", async () => {
    const call = newCall();
    const whole = await generate(world.ctx, prompt({ adapterIds: [mine] }), newCall(), forever);
    const chunks = await all(generateStream(world.ctx, prompt({ adapterIds: [mine] }), call, forever));
    const last = chunks.at(-1);
    if (!whole.ok || last?.type !== "done") throw new Error(JSON.stringify(last));
    expect(last.result).toMatchObject({
      text: whole.value.text,
      completionTokens: 12,
      promptTokens: 16,
      adapter: whole.value.adapter,
    });
    expect(chunks.flatMap((chunk) => (chunk.type === "token" ? [chunk.text] : [])).join("")).toBe(whole.value.text);
    expect(await billed(call)).toMatchObject([
      { promptTokens: 16, completionTokens: 12, costMicroUsd: last.result.costMicroUsd },
    ]);
  });

  it("bills what was generated before the caller left", async () => {
    const call = newCall();
    let seen = 0;
    for await (const chunk of generateStream(
      world.ctx,
      prompt({ maxNewTokens: 400, adapterIds: [mine] }),
      call,
      forever,
    )) {
      if (chunk.type === "token" && ++seen === 5) break;
    }
    const [row] = await billed(call);
    expect(row?.promptTokens).toBe(16);
    expect(row?.completionTokens).toBeGreaterThanOrEqual(5);
    expect(row?.completionTokens).toBeLessThan(40);
  });

  it("ends with an error, unbilled, when serving breaks off", async () => {
    const event = { token: { id: 1, text: "a", logprob: 0, special: false }, generated_text: null, details: null };
    const dying = await listen(
      createServer((_request, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write(`data: ${JSON.stringify(event)}\n\n`, () => response.destroy());
      }),
    );
    const call = newCall();
    const chunks = await all(generateStream(elsewhere(dying.url), prompt(), call, forever));
    expect(chunks.map((chunk) => chunk.type)).toEqual(["token", "error"]);
    expect(await billed(call)).toEqual([]);
    await dying.close();
  });

  it("shows nothing of a stream whose adapter the engine does not confirm", async () => {
    const event = { token: { id: 1, text: "base", logprob: 0, special: false }, generated_text: "base", details: null };
    const liar = await listen(
      createServer((_request, response) =>
        response.writeHead(200, { "content-type": "text/event-stream" }).end(`data: ${JSON.stringify(event)}\n\n`),
      ),
    );
    const chunks = await all(generateStream(elsewhere(liar.url), prompt({ adapterIds: [mine] }), newCall(), forever));
    expect(chunks).toEqual([expect.objectContaining({ type: "error", code: "generation_failed" })]);
    await liar.close();
  });
});

describe("scoreLabels", () => {
  it("gives a log-probability for each label, and the adapter's differ from the base's", async () => {
    const ask = {
      baseModel: "tiny",
      adapterId: null,
      prompt: "Text: x\nLabel:",
      continuations: [" yes", " no"],
      applyChatTemplate: false,
    };
    const [base, tuned] = [
      await scoreLabels(world.ctx, ask, newCall(), forever),
      await scoreLabels(world.ctx, { ...ask, adapterId: mine }, newCall(), forever),
    ];
    if (!base.ok || !tuned.ok) throw new Error(JSON.stringify([base, tuned]));
    expect(base.value.scores.map((score) => score.tokens)).toEqual([4, 3]);
    expect(base.value.scores.every((score) => score.logprob < 0)).toBe(true);
    expect(tuned.value.scores).not.toEqual(base.value.scores);
  });
});

describe("runPlayground", () => {
  it("gives base and adapter the same rendered prompt, and books both as playground", async () => {
    const ask = { adapterId: mine, values: { text: "hello" }, maxNewTokens: 4, temperature: 0 };
    const sides = [
      await all(runPlayground(world.ctx, { ...ask, side: "adapter" }, forever)),
      await all(runPlayground(world.ctx, { ...ask, side: "base" }, forever)),
    ];
    const results = sides
      .map((chunks) => chunks.at(-1))
      .map((last) => (last?.type === "done" ? [last.result.promptTokens, last.result.adapter] : last));
    expect(results).toEqual([
      ["Text: hello\nLabel:".length, `mine/1@${adapter(0).sha256}`],
      ["Text: hello\nLabel:".length, null],
    ]);
    expect(await world.services.db.usageEvent.count({ where: { source: "playground" } })).toBe(2);
  });

  it("names the column that has no value", async () => {
    const chunks = await all(
      runPlayground(world.ctx, { adapterId: mine, side: "base", values: {}, maxNewTokens: 4, temperature: 0 }, forever),
    );
    expect(chunks).toEqual([
      { type: "error", code: "template_column_missing", message: expect.stringContaining('"text"') },
    ]);
  });
});

describe("listServedAdapters", () => {
  it("shows an organisation its own adapters in the model server's memory, and nobody else's", async () => {
    await generate(world.ctx, prompt({ adapterIds: [mine] }), newCall(), forever);
    const view = {
      adapterId: "mine/1",
      sha256: adapter(0).sha256,
      state: "resident",
      rank: expect.any(Number),
      bytes: expect.any(Number),
      hits: expect.any(Number),
      lastUse: expect.any(Date),
      error: null,
    };
    expect(await listServedAdapters(world.ctx)).toMatchObject({
      ok: true,
      value: { server: "grove", adapters: [view] },
    });
    expect(await listServedAdapters(world.otherCtx)).toMatchObject({ ok: true, value: { adapters: [] } });
    expect(await listServedAdapters(elsewhere("http://127.0.0.1:9"))).toMatchObject({ code: "serving_unavailable" });
  });
});
