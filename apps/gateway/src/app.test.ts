import { createServer, type Server } from "node:http";
import { createToken, revokeToken } from "@grove/core/accounts/tokens";
import type { OrgCtx } from "@grove/core/context";
import { emptyDataset, adapterFileServer, type LocalServer, listen, makeTinyModels, publishAdapter, startEngine, type TestEngine, type TinyModels } from "@grove/core/serving/testing";
import { createTestWorld, type TestWorld } from "@grove/core/testing";
import { getRequestListener } from "@hono/node-server";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "./app.ts";

let world: TestWorld;
let models: TinyModels;
let files: LocalServer;
let engine: TestEngine;
let gateway: LocalServer;
let token: string;
let foreignToken: string;
let deployment: string;
const errors: unknown[] = [];

beforeAll(async () => {
  models = await makeTinyModels(2);
  files = await listen(adapterFileServer(() => world.services.storage));
  engine = await startEngine(models, { gatewayUrl: files.url });
  world = await createTestWorld({ servingUrl: engine.url, baseModel: models.base });
  const [first, second] = models.adapters;
  if (!first || !second) throw new Error("not made");
  await publishAdapter(world.ctx, first, { repository: "mine", datasetId: await emptyDataset(world.ctx) });
  await publishAdapter(world.otherCtx, second, { repository: "foreign", datasetId: await emptyDataset(world.otherCtx) });
  token = await tokenOf(await withOwner(world.ctx));
  foreignToken = await tokenOf(await withOwner(world.otherCtx));
  const app = createApp(world.services, { onError: (error) => errors.push(error) });
  gateway = await listen(createServer(getRequestListener(app.fetch)));
  deployment = `${gateway.url}/acme/deployments/v2/llms/tiny`;
}, 90_000);
afterAll(async () => {
  await gateway?.close();
  await engine?.stop();
  await files?.close();
  await world?.close();
  await models?.remove();
});
afterEach(() => expect(errors).toEqual([]));

async function withOwner(ctx: OrgCtx): Promise<OrgCtx> {
  const user = await ctx.db.user.create({ data: { email: `${ctx.orgSlug}@example.org`, name: "o", passwordHash: "-", memberships: { create: { orgId: ctx.orgId, role: "owner" } } } });
  return { ...ctx, actor: { kind: "user", userId: user.id } };
}
async function tokenOf(ctx: OrgCtx, name = "t"): Promise<string> {
  const made = await createToken(ctx, { name });
  if (!made.ok) throw new Error(made.message);
  return made.value.token;
}
type Sent = { status: number; headers: Headers; text: string; json: unknown };
async function post(path: string, body: unknown, bearer: string | null = token, init: RequestInit = {}): Promise<Sent> {
  const response = await fetch(path.startsWith("http") ? path : `${gateway.url}${path}`, {
    method: "POST",
    headers: bearer === null ? {} : { authorization: `Bearer ${bearer}` },
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : null };
}
async function get(path: string, bearer: string | null = token): Promise<Sent> {
  return post(path, "", bearer, { method: "GET", body: undefined });
}
const client = (options: { apiKey?: string; baseURL?: string } = {}) => new OpenAI({ apiKey: token, baseURL: `${gateway.url}/v1`, maxRetries: 0, ...options });
const usage = () => world.services.db.usageEvent.findMany({ orderBy: { id: "asc" } });
const prompt = { inputs: "What is your name?", parameters: { adapter_id: "mine/1", adapter_source: "pbase", max_new_tokens: 6, ignore_eos_token: true } };

describe("the published curl call", () => {
  it("answers as LoRAX does, with its headers, and is booked once for this token", async () => {
    const before = (await usage()).length;
    const answer = await post(`${deployment}/generate`, prompt);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ generated_text: expect.any(String) });
    expect(answer.headers.get("x-grove-adapter")).toBe(`mine/1@${models.adapters[0]?.sha256}`);
    expect(answer.headers.get("x-prompt-tokens")).toBe("18");
    expect(answer.headers.get("x-generated-tokens")).toBe("6");
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    const booked = (await usage()).slice(before);
    expect(booked).toMatchObject([{ promptTokens: 18, completionTokens: 6, source: "api", tokenId: expect.any(String), adapterVersionId: expect.any(String) }]);
  });

  it("answers an array at the deployment's root, as lorax-client needs it, with nulls for what is not set", async () => {
    const parameters = { ...prompt.parameters, details: true, temperature: null, merged_adapters: null, api_token: null, seed: null };
    const answer = await post(deployment, { inputs: "Hi", parameters, stream: false });
    expect(answer.json).toMatchObject([{ generated_text: expect.any(String), details: { prompt_tokens: 2, generated_tokens: 6, finish_reason: "length", skipped_tokens: 0 } }]);
  });

  it("streams without details unless they are asked for, and without [DONE]", async () => {
    const lines = (await post(`${deployment}/generate_stream`, prompt)).text.trim().split("\n\n").map((line) => JSON.parse(line.replace(/^data: ?/, "")));
    expect(lines).toHaveLength(6);
    expect(lines.slice(0, -1).every((line) => line.generated_text === null)).toBe(true);
    expect(lines.at(-1)).toMatchObject({ generated_text: expect.any(String), details: null });
    const detailed = await post(deployment, { ...prompt, parameters: { ...prompt.parameters, details: true }, stream: true });
    expect(detailed.headers.get("content-type")).toContain("text/event-stream");
    expect(detailed.text).toContain('"generated_tokens":6');
    expect(detailed.text).not.toContain("[DONE]");
  });

  it.each([
    ["no token", () => post(`${deployment}/generate`, prompt, null), 401, "unauthenticated"],
    ["an unknown token", () => post(`${deployment}/generate`, prompt, `pb_${"0".repeat(64)}`), 401, "token_invalid"],
    ["another tenant's address", () => post(`${deployment}/generate`, prompt, foreignToken), 403, "forbidden"],
    ["another tenant's adapter", () => post(`${deployment}/generate`, { inputs: "x", parameters: { adapter_id: "foreign/1" } }), 424, "generation"],
    ["an adapter that does not exist", () => post(`${deployment}/generate`, { inputs: "x", parameters: { adapter_id: "nothing/9" } }), 424, "generation"],
    ["../../etc/passwd as adapter id", () => post(`${deployment}/generate`, { inputs: "x", parameters: { adapter_id: "../../etc/passwd" } }), 422, "validation"],
    ["a local folder as adapter source", () => post(`${deployment}/generate`, { inputs: "x", parameters: { adapter_id: "mine/1", adapter_source: "local" } }), 422, "validation"],
    ["adapter_id and merged_adapters at once", () => post(`${deployment}/generate`, { inputs: "x", parameters: { adapter_id: "mine/1", merged_adapters: { ids: ["mine/1"], weights: [1] } } }), 422, "validation"],
    ["a foreign adapter inside a merge", () => post(`${deployment}/generate`, { inputs: "x", parameters: { merged_adapters: { ids: ["mine/1", "foreign/1"], weights: [1, 1] } } }), 424, "generation"],
    ["a bound that serving checks", () => post(`${deployment}/generate`, { inputs: "x", parameters: { top_p: 7 } }), 422, "validation"],
    ["a prompt longer than the context", () => post(`${deployment}/generate`, { inputs: "x".repeat(600) }), 422, "validation"],
    ["no inputs", () => post(`${deployment}/generate`, { parameters: {} }), 422, "validation"],
    ["a body that is not JSON", () => post(`${deployment}/generate`, "{oops"), 400, "malformed_request"],
    ["another base model", () => post(`${gateway.url}/acme/deployments/v2/llms/gpt-9/generate`, prompt), 404, "base_model_not_found"],
  ])("refuses %s in LoRAX's shape, unbilled", async (_what, send, status, type) => {
    const before = (await usage()).length;
    const answer = await send();
    expect(answer).toMatchObject({ status, json: { error: expect.stringMatching(/.{10}/), error_type: type } });
    expect(answer.headers.get("x-request-id")).not.toBeNull();
    expect((await usage()).length).toBe(before);
  });

  it("refuses a token from the moment it is revoked", async () => {
    const made = await createToken(await ownerOf(), { name: "short-lived" });
    if (!made.ok) throw new Error(made.message);
    expect((await post(`${deployment}/generate`, prompt, made.value.token)).status).toBe(200);
    await revokeToken(world.ctx, made.value.id);
    expect(await post(`${deployment}/generate`, prompt, made.value.token)).toMatchObject({ status: 401, json: { error_type: "token_revoked" } });
  });

  it("passes on /info, /health and /tokenize", async () => {
    expect((await get(`${deployment}/info`)).json).toMatchObject({ model_id: "tiny" });
    expect((await get(`${deployment}/health`)).status).toBe(200);
    expect((await post(`${deployment}/tokenize`, { inputs: "ab" })).json).toHaveLength(2);
  });
});

async function ownerOf(): Promise<OrgCtx> {
  const { userId } = await world.services.db.membership.findFirstOrThrow({ where: { orgId: world.ctx.orgId } });
  return { ...world.ctx, actor: { kind: "user", userId } };
}

describe("the openai client", () => {
  it.each(["root", "deployment"])("lists, chats, completes and streams at the %s", async (place) => {
    const openai = client(place === "root" ? {} : { baseURL: `${deployment}/v1` });
    const models_ = [];
    for await (const model of openai.models.list()) models_.push(model.id);
    expect(models_).toEqual(["tiny", "mine/1"]);
    expect(await openai.models.retrieve("mine/1")).toMatchObject({ id: "mine/1", object: "model", owned_by: "acme" });
    const ask = { model: "mine/1", messages: [{ role: "user" as const, content: "hi" }], max_completion_tokens: 5, temperature: 0 };
    const chat = await openai.chat.completions.create(ask);
    expect(chat).toMatchObject({ object: "chat.completion", choices: [{ index: 0, finish_reason: "length", message: { role: "assistant" } }], usage: { completion_tokens: 5 } });
    expect(chat._request_id).toMatch(/^[0-9a-f-]{36}$/);
    let streamed = "";
    let tokens: number | undefined;
    for await (const chunk of await openai.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
      streamed += chunk.choices[0]?.delta.content ?? "";
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect([streamed, tokens]).toEqual([chat.choices[0]?.message.content, 5]);
    const completion = await openai.completions.create({ model: "tiny", prompt: "once", max_tokens: 4 });
    expect(completion).toMatchObject({ object: "text_completion", usage: { prompt_tokens: 4, completion_tokens: 4, total_tokens: 8 } });
  });

  it("sees no usage chunk that it did not ask for, and the bill is exact all the same", async () => {
    const before = (await usage()).length;
    const ask = { model: "mine/1", messages: [{ role: "user" as const, content: "hi" }], max_tokens: 5, stream: true as const };
    for await (const chunk of await client().chat.completions.create(ask)) {
      expect(chunk.choices).toHaveLength(1);
      expect(chunk).not.toHaveProperty("usage");
    }
    expect((await usage()).slice(before)).toMatchObject([{ completionTokens: 5, adapterVersionId: expect.any(String) }]);
  });

  it("stops at a string or a list, and asks for several answers", async () => {
    const ask = { model: "tiny", prompt: "once upon", max_tokens: 24, temperature: 0 };
    const text = (await client().completions.create(ask)).choices[0]?.text ?? "";
    const mark = /[!-~]/.exec(text.slice(2))?.[0] ?? "none"; // not of the first two, and not half of a character
    for (const stop of [mark, [mark]]) {
      const cut = await client().completions.create({ ...ask, stop });
      expect(cut.choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(mark)), finish_reason: "stop" });
    }
    const many = await client().chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "x" }], max_tokens: 3, n: 2, temperature: 1 });
    expect(many.choices.map((choice) => choice.index)).toEqual([0, 1]);
  });

  it("throws the class that each refusal belongs to", async () => {
    const messages = [{ role: "user" as const, content: "x" }];
    const failure = async (act: Promise<unknown>) => act.then(() => "answered", (error: unknown) => error);
    const { chat } = client();
    expect(await failure(chat.completions.create({ model: "foreign/1", messages }))).toMatchObject({ constructor: OpenAI.NotFoundError, code: "model_not_found", param: "model" });
    expect(await failure(chat.completions.create({ model: "gpt-4", messages }))).toMatchObject({ constructor: OpenAI.NotFoundError, code: "model_not_found" });
    expect(await failure(chat.completions.create({ model: "../../etc/passwd", messages }))).toBeInstanceOf(OpenAI.NotFoundError);
    expect(await failure(chat.completions.create({ model: "tiny", messages: [] }))).toBeInstanceOf(OpenAI.UnprocessableEntityError);
    expect(await failure(chat.completions.create({ model: "tiny", messages, temperature: -1 }))).toMatchObject({ constructor: OpenAI.BadRequestError, message: expect.stringContaining("temperature") });
    expect(await failure(client({ apiKey: "pb_wrong" }).models.list())).toMatchObject({ constructor: OpenAI.AuthenticationError, code: "invalid_api_key" });
    expect(await failure(client({ apiKey: foreignToken, baseURL: `${deployment}/v1` }).models.list())).toBeInstanceOf(OpenAI.PermissionDeniedError);
    const stream = await chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "x".repeat(600) }], stream: true });
    expect(await failure((async () => { for await (const _ of stream); })())).toMatchObject({ constructor: OpenAI.APIError, message: expect.stringContaining("tokens") });
  });
});

describe("a slow, full or absent model server", () => {
  async function behind(status: number, body: unknown): Promise<{ url: string; close: () => Promise<void> }> {
    return behindServer(createServer((_request, response) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))));
  }
  async function behindServer(server: Server): Promise<{ url: string; close: () => Promise<void> }> {
    const stub = await listen(server);
    const services = { ...world.services, settings: { ...world.services.settings, servingUrl: stub.url } };
    const front = await listen(createServer(getRequestListener(createApp(services, { onError: (error) => errors.push(error) }).fetch)));
    return { url: front.url, close: async () => (await front.close(), await stub.close()) };
  }

  it("is told when the client hangs up, and what it had generated is booked", async () => {
    const event = JSON.stringify({ token: { id: 1, text: "a", logprob: 0, special: false }, generated_text: null, details: null });
    let ended = 0;
    const slow = await behindServer(
      createServer((request, response) => {
        if (request.url === "/tokenize") return response.end("[1, 2, 3]");
        response.writeHead(200, { "content-type": "text/event-stream" });
        const timer = setInterval(() => response.write(`data: ${event}\n\n`), 10);
        response.once("close", () => (clearInterval(timer), (ended = Date.now())));
      }),
    );
    const before = (await usage()).length;
    const leave = new AbortController();
    const init = { method: "POST", headers: { authorization: `Bearer ${token}` }, body: JSON.stringify({ inputs: "x" }), signal: leave.signal };
    const reader = (await fetch(`${slow.url}/acme/deployments/v2/llms/tiny/generate_stream`, init)).body?.getReader();
    for (let i = 0; i < 3; i++) await reader?.read();
    const left = Date.now();
    leave.abort();
    await expect.poll(async () => (await usage()).length, { timeout: 10_000 }).toBe(before + 1);
    const row = (await usage()).at(-1);
    expect(row?.promptTokens).toBe(3);
    expect(row?.completionTokens).toBeGreaterThanOrEqual(3);
    expect(row?.completionTokens).toBeLessThan(200);
    expect(ended - left).toBeLessThan(1_500);
    await slow.close();
  });

  it("is 429 with a time to wait, in the shape of each client", async () => {
    const full = await behind(429, { error: "Model is overloaded", error_type: "overloaded" });
    expect(await post(`${full.url}/acme/deployments/v2/llms/tiny/generate`, prompt)).toMatchObject({ status: 429, json: { error: "Model is overloaded", error_type: "overloaded" } });
    const openai = client({ baseURL: `${full.url}/v1` });
    const refused = await openai.chat.completions.create({ model: "tiny", messages: [{ role: "user", content: "x" }] }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ constructor: OpenAI.RateLimitError, message: expect.stringContaining("overloaded") });
    await full.close();
  });

  it("is waited for, then 503 with a time to wait", async () => {
    const away = await behind(503, { error: "unhealthy", error_type: "healthcheck" });
    const started = Date.now();
    const answer = await post(`${away.url}/acme/deployments/v2/llms/tiny/generate`, prompt);
    expect(answer).toMatchObject({ status: 503, json: { error_type: "serving_unavailable" } });
    expect(answer.headers.get("retry-after")).toBe("5");
    expect(Date.now() - started).toBeGreaterThan(3_000);
    await away.close();
  }, 20_000);
});

describe("/api/v1", () => {
  it("makes, lists and revokes tokens", async () => {
    const answer = await post("/api/v1/tokens", { name: "from a script" });
    expect(answer.status).toBe(201);
    const made = z.looseObject({ id: z.string(), token: z.string(), prefix: z.string() }).parse(answer.json);
    expect((await get("/api/v1/organisation", made.token)).json).toEqual({ id: world.ctx.orgId, slug: "acme" });
    const revoked = await post(`/api/v1/tokens/${made.id}`, "", token, { method: "DELETE", body: undefined });
    expect(revoked.json).toMatchObject({ id: made.id, revokedAt: expect.any(String) });
    expect((await get("/api/v1/organisation", made.token)).status).toBe(401);
    const listed = { id: made.id, name: "from a script", prefix: made.prefix };
    expect((await get("/api/v1/tokens")).json).toMatchObject({ items: expect.arrayContaining([expect.objectContaining(listed)]) });
  });

  it("reports usage with money as text", async () => {
    const money = expect.stringMatching(/^\d+$/);
    expect((await get("/api/v1/usage?days=1")).json).toMatchObject({ totalMicroUsd: money, rows: expect.arrayContaining([expect.objectContaining({ costMicroUsd: money })]) });
    expect(await get("/api/v1/usage?days=0")).toMatchObject({ status: 422, json: { error: { code: "invalid_input", field: "days" } } });
  });

  it("describes the base model", async () => {
    expect((await get("/api/v1/base-models")).json).toEqual({ items: [{ id: "tiny", name: "tiny", contextLength: 512, parameters: expect.stringMatching(/^\d+K$/), chatTemplate: true }] });
  });

  it.each([
    ["an unknown evaluation", () => get("/api/v1/evals/00000000-0000-7000-8000-000000000000"), 404, "eval_not_found"],
    ["an id that is none", () => get("/api/v1/evals/x"), 422, "invalid_input"],
    ["an unknown field", () => post("/api/v1/evals", { adapterId: "mine/1", rowz: 3 }), 422, "invalid_input"],
    ["an address that does not exist", () => get("/api/v1/nothing"), 404, "route_not_found"],
    ["no token", () => get("/api/v1/tokens", null), 401, "unauthenticated"],
  ])("refuses %s", async (_what, send, status, code) => {
    expect(await send()).toMatchObject({ status, json: { error: { code } } });
  });
});

it("tells that it lives and that it is ready", async () => {
  expect((await get("/health", null)).json).toEqual({ status: "ok" });
  expect((await get("/ready", null)).json).toEqual({ ready: true, database: true, serving: true });
});
