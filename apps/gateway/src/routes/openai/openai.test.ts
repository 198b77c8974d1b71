import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../../testing.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
}, 90_000);
afterAll(() => gateway?.close());
afterEach(() => expect(gateway.errors).toEqual([]));

const client = (options: { apiKey?: string; baseURL?: string } = {}) =>
  new OpenAI({ apiKey: gateway.token, baseURL: `${gateway.url}/v1`, maxRetries: 0, ...options });
describe("the openai client", () => {
  it.each(["root", "deployment"])("lists, chats, completes and streams at the %s", async (place) => {
    const openai = client(place === "root" ? {} : { baseURL: `${gateway.deployment}/v1` });
    const models_ = [];
    for await (const model of openai.models.list()) models_.push(model.id);
    expect(models_).toEqual(["tiny", "mine/1"]);
    expect(await openai.models.retrieve("mine/1")).toMatchObject({ id: "mine/1", object: "model", owned_by: "acme" });
    const ask = {
      model: "mine/1",
      messages: [{ role: "user" as const, content: "hi" }],
      max_completion_tokens: 5,
      temperature: 0,
    };
    const chat = await openai.chat.completions.create(ask);
    expect(chat).toMatchObject({
      object: "chat.completion",
      choices: [{ index: 0, finish_reason: "length", message: { role: "assistant" } }],
      usage: { completion_tokens: 5 },
    });
    expect(chat._request_id).toMatch(/^[0-9a-f-]{36}$/);
    let streamed = "";
    let tokens: number | undefined;
    for await (const chunk of await openai.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      streamed += chunk.choices[0]?.delta.content ?? "";
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect([streamed, tokens]).toEqual([chat.choices[0]?.message.content, 5]);
    const completion = await openai.completions.create({ model: "tiny", prompt: "once", max_tokens: 4 });
    expect(completion).toMatchObject({
      object: "text_completion",
      usage: { prompt_tokens: 4, completion_tokens: 4, total_tokens: 8 },
    });
  });

  it("sees no usage chunk that it did not ask for, and the bill is exact all the same", async () => {
    const before = (await gateway.usage()).length;
    const ask = {
      model: "mine/1",
      messages: [{ role: "user" as const, content: "hi" }],
      max_tokens: 5,
      stream: true as const,
    };
    for await (const chunk of await client().chat.completions.create(ask)) {
      expect(chunk.choices).toHaveLength(1);
      expect(chunk).not.toHaveProperty("usage");
    }
    expect((await gateway.usage()).slice(before)).toMatchObject([
      { completionTokens: 5, adapterVersionId: expect.any(String) },
    ]);
  });

  it("stops at a string or a list, and asks for several answers", async () => {
    const ask = { model: "tiny", prompt: "once upon", max_tokens: 24, temperature: 0 };
    const text = (await client().completions.create(ask)).choices[0]?.text ?? "";
    const mark = /[!-~]/.exec(text.slice(2))?.[0] ?? "none"; // not of the first two, and not half of a character
    for (const stop of [mark, [mark]]) {
      const cut = await client().completions.create({ ...ask, stop });
      expect(cut.choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(mark)), finish_reason: "stop" });
    }
    const many = await client().chat.completions.create({
      model: "tiny",
      messages: [{ role: "user", content: "x" }],
      max_tokens: 3,
      n: 2,
      temperature: 1,
    });
    expect(many.choices.map((choice) => choice.index)).toEqual([0, 1]);
  });

  it("streams several answers side by side, and bills them all", async () => {
    const before = (await gateway.usage()).length;
    const ask = { model: "mine/1", messages: [{ role: "user" as const, content: "x" }], max_tokens: 3, n: 2, seed: 1 };
    const ended = new Set<number>();
    for await (const chunk of await client().chat.completions.create({ ...ask, temperature: 1, stream: true })) {
      for (const choice of chunk.choices) if (choice.finish_reason !== null) ended.add(choice.index);
    }
    expect([...ended].sort()).toEqual([0, 1]);
    const counted = await client().chat.completions.create({ ...ask, temperature: 1 });
    const rows = (await gateway.usage()).slice(before);
    expect(rows.at(1)?.completionTokens).toBe(counted.usage?.completion_tokens);
    expect(rows.at(0)?.completionTokens).toBeGreaterThan(3); // both, whichever ends early
  });

  it("throws the class that each refusal belongs to", async () => {
    const messages = [{ role: "user" as const, content: "x" }];
    const failure = async (act: Promise<unknown>) =>
      act.then(
        () => "answered",
        (error: unknown) => error,
      );
    const { chat } = client();
    expect(await failure(chat.completions.create({ model: "foreign/1", messages }))).toMatchObject({
      constructor: OpenAI.NotFoundError,
      code: "model_not_found",
      param: "model",
    });
    expect(await failure(chat.completions.create({ model: "gpt-4", messages }))).toMatchObject({
      constructor: OpenAI.NotFoundError,
      code: "model_not_found",
    });
    expect(await failure(chat.completions.create({ model: "../../etc/passwd", messages }))).toBeInstanceOf(
      OpenAI.NotFoundError,
    );
    expect(await failure(chat.completions.create({ model: "tiny", messages: [] }))).toBeInstanceOf(
      OpenAI.UnprocessableEntityError,
    );
    expect(await failure(chat.completions.create({ model: "tiny", messages, temperature: -1 }))).toMatchObject({
      constructor: OpenAI.BadRequestError,
      message: expect.stringContaining("temperature"),
    });
    expect(await failure(client({ apiKey: "pb_wrong" }).models.list())).toMatchObject({
      constructor: OpenAI.AuthenticationError,
      code: "invalid_api_key",
    });
    expect(
      await failure(client({ apiKey: gateway.foreignToken, baseURL: `${gateway.deployment}/v1` }).models.list()),
    ).toBeInstanceOf(OpenAI.PermissionDeniedError);
    const tooLong = {
      model: "tiny",
      messages: [{ role: "user" as const, content: "x".repeat(600) }],
      stream: true as const,
    };
    expect(await failure(chat.completions.create(tooLong))).toMatchObject({
      constructor: OpenAI.BadRequestError, // before the first byte: a status, not an event
      message: expect.stringContaining("tokens"),
    });
  });
});
