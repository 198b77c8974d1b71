import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { generateInput } from "@grove/contracts/serving";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authorizeRoute } from "../authorize.ts";
import { generate, generateStream } from "../generate.ts";
import { travel } from "../road.ts";
import { scoreLabels } from "../score.ts";
import { all, type UpstreamWorld, upstreamWorld } from "./testing.ts";
import { fakeVllm } from "./testing-vllm.ts";
import { VllmAdapters } from "./vllm-adapters.ts";

let on: UpstreamWorld;
beforeAll(async () => {
  on = await upstreamWorld();
}, 60_000);
afterAll(() => on?.close());

const forever = new AbortController().signal;
const prompt = (more: object = {}) =>
  generateInput.parse({ baseModel: "tiny", prompt: "once upon", maxNewTokens: 3, ...more });
describe("an adapter behind vLLM", () => {
  it("is copied by its hash, loaded once under a name that holds it, and billed by vLLM's counts", async () => {
    const vllm = await fakeVllm(on.folder);
    const ctx = on.ctxOf(vllm.setting);
    const name = `acme/mine/1@${on.sha256}`;
    const call = on.newCall();
    const [first] = await Promise.all([
      generate(ctx, prompt({ adapterIds: ["mine/1"] }), call, forever),
      generate(ctx, prompt({ adapterIds: ["mine/1"] }), on.newCall(), forever),
    ]);
    expect(first).toMatchObject({
      ok: true,
      value: { text: " a b c", adapter: `mine/1@${on.sha256}`, finishReason: "length" },
    });
    expect([...vllm.loaded]).toEqual([[name, join(on.folder, "shared", on.sha256)]]);
    expect(vllm.heard.filter((one) => one.path === "/v1/load_lora_adapter")).toHaveLength(1);
    const files = await Promise.all(
      ["adapter_config.json", "adapter_model.safetensors"].map((file) =>
        readFile(join(on.folder, "shared", on.sha256, file)),
      ),
    );
    expect(createHash("sha256").update(Buffer.concat(files)).digest("hex")).toBe(on.sha256);
    expect(await on.billed(call)).toEqual([[9, 3, true]]);
    expect(vllm.heard.at(-1)?.body).toMatchObject({ temperature: 0, max_tokens: 3, include_stop_str_in_output: true });
    await vllm.close();
  });

  it("is loaded again when vLLM has lost it", async () => {
    const vllm = await fakeVllm(on.folder, { forgetOnce: true });
    const answer = await generate(on.ctxOf(vllm.setting), prompt({ adapterIds: ["mine/1"] }), on.newCall(), forever);
    expect(answer).toMatchObject({ ok: true });
    expect(vllm.heard.filter((one) => one.path === "/v1/load_lora_adapter")).toHaveLength(2);
    await vllm.close();
  });

  it.each([
    ["whole", generateWhole],
    ["streamed", generateLast],
  ])("is never answered for by the base, %s, and that is free", async (_how, ask) => {
    const vllm = await fakeVllm(on.folder, { answerAs: "tiny" });
    const call = on.newCall();
    expect(await ask(on.ctxOf(vllm.setting), call)).toMatchObject({
      code: "generation_failed",
      message: expect.stringContaining("thrown away"),
    });
    expect(await on.billed(call)).toEqual([]);
    await vllm.close();
  });

  async function generateWhole(ctx: Parameters<typeof generate>[0], call: Parameters<typeof generate>[2]) {
    return generate(ctx, prompt({ adapterIds: ["mine/1"] }), call, forever);
  }
  async function generateLast(ctx: Parameters<typeof generate>[0], call: Parameters<typeof generate>[2]) {
    return (await all(generateStream(ctx, prompt({ adapterIds: ["mine/1"] }), call, forever))).at(-1);
  }

  it("streams one event a token, and a caller who leaves pays for what vLLM had counted", async () => {
    const vllm = await fakeVllm(on.folder);
    const [whole, left] = [on.newCall(), on.newCall()];
    const chunks = await all(
      generateStream(on.ctxOf(vllm.setting), prompt({ adapterIds: ["mine/1"] }), whole, forever),
    );
    expect(chunks.map((chunk) => (chunk.type === "token" ? chunk.text : chunk.type))).toEqual([
      " a",
      " b",
      " c",
      "done",
    ]);
    expect(await on.billed(whole)).toEqual([[9, 3, true]]);
    await vllm.close();
    const endless = await fakeVllm(on.folder, { silentAfter: 2 }); // goes silent after two tokens
    for await (const chunk of generateStream(on.ctxOf(endless.setting), prompt(), left, forever)) {
      if (chunk.type === "token") break;
    }
    expect(await on.billed(left)).toEqual([[9, 2, false]]);
    await expect.poll(endless.cutOff).toBe(1);
    await endless.close();
  });

  it("gets a lone user message as it was written, where it was tuned on raw prompts", async () => {
    const vllm = await fakeVllm(on.folder);
    const ctx = on.ctxOf(vllm.setting);
    const route = await authorizeRoute(ctx, "tiny", ["mine/1"]);
    if (!route.ok) throw new Error(route.message);
    const body = { model: "mine/1", messages: [{ role: "user", content: "as is" }], temperature: 0 };
    const request = {
      path: "/v1/chat/completions",
      dialect: "openai" as const,
      body,
      route: route.value,
      promptText: "as is",
      promptFormat: "messages" as const,
    };
    const answer = await travel(ctx, request, on.newCall(), forever);
    expect(answer).toMatchObject({
      value: {
        body: {
          object: "chat.completion",
          model: "mine/1",
          choices: [{ message: { role: "assistant", content: " a b c" } }],
        },
      },
    });
    expect(vllm.heard.at(-1)).toMatchObject({ path: "/v1/completions", body: { prompt: "as is", max_tokens: 59 } });
    await vllm.close();
  });
});

it("scores labels by the chance of each of their tokens, with one call for all places", async () => {
  const vllm = await fakeVllm(on.folder);
  const ask = {
    baseModel: "tiny",
    adapterId: null,
    prompt: "Q:",
    continuations: ["yes", "no"],
    applyChatTemplate: false,
  };
  const call = on.newCall();
  const scored = await scoreLabels(on.ctxOf(vllm.setting), ask, call, forever);
  // " yes" is 4 letters after a prompt of 2, " no" 3: each letter costs its place's length and a thousandth of its code
  const sum = (text: string) =>
    [...text].reduce((total, letter, i) => total - (2 + i + letter.charCodeAt(0) / 1000), 0);
  expect(scored).toMatchObject({ ok: true, value: { promptTokens: 2 } });
  expect(scored.ok && scored.value.scores.map((one) => one.logprob)).toEqual([
    expect.closeTo(sum(" yes")),
    expect.closeTo(sum(" no")),
  ]);
  expect(vllm.heard.filter((one) => one.path === "/v1/completions")).toHaveLength(1);
  expect(await on.billed(call)).toEqual([[9, 0, false]]); // the prompt once, and each label
  await vllm.close();
});

it("unloads the adapter that was used longest ago when there are too many", async () => {
  const vllm = await fakeVllm(on.folder);
  const adapters = new VllmAdapters(vllm.setting);
  for (const id of ["mine/1", "mine/2", "mine/1", "mine/3"]) {
    await adapters.ensure(on.ctxOf(vllm.setting), { id, sha256: on.sha256 });
  }
  expect([...vllm.loaded.keys()].map((name) => name.split("@")[0])).toEqual(["acme/mine/1", "acme/mine/3"]);
  await vllm.close();
});
