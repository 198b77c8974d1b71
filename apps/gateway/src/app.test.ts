import { createServer, type Server } from "node:http";
import { listen } from "@grove/core/serving/testing";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "./testing.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
}, 90_000);
afterAll(() => gateway?.close());
afterEach(() => expect(gateway.errors).toEqual([]));

const prompt = {
  inputs: "What is your name?",
  parameters: { adapter_id: "mine/1", adapter_source: "pbase", max_new_tokens: 6, ignore_eos_token: true },
};

describe("a slow, full or absent model server", () => {
  async function behind(status: number, body: unknown): Promise<{ url: string; close: () => Promise<void> }> {
    return behindServer(
      createServer((_request, response) =>
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)),
      ),
    );
  }
  async function behindServer(server: Server): Promise<{ url: string; close: () => Promise<void> }> {
    const stub = await listen(server);
    const front = await gateway.before(stub.url);
    return {
      url: front.url,
      async close() {
        await front.close();
        await stub.close();
      },
    };
  }

  it("is told when the client hangs up, and what it had generated is booked", async () => {
    const event = JSON.stringify({
      token: { id: 1, text: "a", logprob: 0, special: false },
      generated_text: null,
      details: null,
    });
    let ended = 0;
    const slow = await behindServer(
      createServer((request, response) => {
        if (request.url === "/tokenize") return response.end("[1, 2, 3]");
        response.writeHead(200, { "content-type": "text/event-stream" });
        const timer = setInterval(() => response.write(`data: ${event}\n\n`), 10);
        response.once("close", () => {
          clearInterval(timer);
          ended = Date.now();
        });
      }),
    );
    const before = (await gateway.usage()).length;
    const leave = new AbortController();
    const init = {
      method: "POST",
      headers: { authorization: `Bearer ${gateway.token}` },
      body: JSON.stringify({ inputs: "x" }),
      signal: leave.signal,
    };
    const reader = (await fetch(`${slow.url}/acme/deployments/v2/llms/tiny/generate_stream`, init)).body?.getReader();
    for (let i = 0; i < 3; i++) await reader?.read();
    const left = Date.now();
    leave.abort();
    await expect.poll(async () => (await gateway.usage()).length, { timeout: 10_000 }).toBe(before + 1);
    const row = (await gateway.usage()).at(-1);
    expect(row?.promptTokens).toBe(3);
    expect(row?.completionTokens).toBeGreaterThanOrEqual(3);
    expect(row?.completionTokens).toBeLessThan(200);
    expect(ended - left).toBeLessThan(1_500);
    await slow.close();
  });

  it("gets tools, priority, deadline and trace as the client sent them, and a tool call is billed", async () => {
    const heard: unknown[] = [];
    const call = { id: "call_1", type: "function", function: { name: "add", arguments: '{"a":1}' } };
    const tools = [{ type: "function", function: { name: "add", parameters: { type: "object" } } }];
    const caller = await behindServer(
      createServer(async (request, response) => {
        let text = "";
        for await (const part of request) text += part;
        heard.push({ ...JSON.parse(text), headers: request.headers });
        const message = { role: "assistant", content: null, tool_calls: [call] };
        const choices = [{ index: 0, message, finish_reason: "tool_calls" }];
        const usage = { prompt_tokens: 20, completion_tokens: 7, total_tokens: 27 };
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ choices, usage }));
      }),
    );
    const headers = {
      "x-grove-priority": "low",
      "x-grove-deadline-ms": "5000",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    const openai = new OpenAI({
      apiKey: gateway.token,
      baseURL: `${caller.url}/v1`,
      maxRetries: 0,
      defaultHeaders: headers,
    });
    const messages = [{ role: "user" as const, content: "x" }];
    const answer = await openai.chat.completions.create({
      model: "tiny",
      messages,
      tools: tools.map((t) => ({ ...t, type: "function" as const })),
      tool_choice: "auto",
    });
    expect(answer.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { tool_calls: [call] } });
    expect(heard).toEqual([
      expect.objectContaining({ tools, tool_choice: "auto", headers: expect.objectContaining(headers) }),
    ]);
    expect((await gateway.usage()).at(-1)).toMatchObject({ promptTokens: 20, completionTokens: 7 });
    const first = openai.chat.completions.create(
      { model: "tiny", messages },
      { headers: { "x-grove-priority": "high" } },
    );
    await expect(first).rejects.toMatchObject({ status: 422, param: "x-grove-priority" });
    await caller.close();
  });

  it("is 429 with a time to wait, in the shape of each client", async () => {
    const full = await behind(429, { error: "Model is overloaded", error_type: "overloaded" });
    expect(await gateway.post(`${full.url}/acme/deployments/v2/llms/tiny/generate`, prompt)).toMatchObject({
      status: 429,
      json: { error: "Model is overloaded", error_type: "overloaded" },
    });
    const openai = new OpenAI({ apiKey: gateway.token, baseURL: `${full.url}/v1`, maxRetries: 0 });
    const refused = await openai.chat.completions
      .create({ model: "tiny", messages: [{ role: "user", content: "x" }] })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({
      constructor: OpenAI.RateLimitError,
      message: expect.stringContaining("overloaded"),
    });
    await full.close();
  });

  it("is waited for, then 503 with a time to wait", async () => {
    const away = await behind(503, { error: "unhealthy", error_type: "healthcheck" });
    const started = Date.now();
    const answer = await gateway.post(`${away.url}/acme/deployments/v2/llms/tiny/generate`, prompt);
    expect(answer).toMatchObject({ status: 503, json: { error_type: "serving_unavailable" } });
    expect(answer.headers.get("retry-after")).toBe("5");
    expect(Date.now() - started).toBeGreaterThan(10_000);
    await away.close();
  }, 60_000);
});

it("tells that it lives and that it is ready", async () => {
  expect((await gateway.send("GET", "/health", null)).json).toEqual({ status: "ok" });
  expect((await gateway.send("GET", "/ready", null)).json).toEqual({ ready: true, database: true, serving: true });
});
