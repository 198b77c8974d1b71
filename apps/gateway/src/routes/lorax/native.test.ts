import { createToken, revokeToken } from "@grove/core/accounts/tokens";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../../testing.ts";

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

describe("the published curl call", () => {
  it("answers as LoRAX does, with its headers, and is booked once for this token", async () => {
    const before = (await gateway.usage()).length;
    const answer = await gateway.post(`${gateway.deployment}/generate`, prompt);
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ generated_text: expect.any(String) });
    expect(answer.headers.get("x-grove-adapter")).toBe(`mine/1@${gateway.sha256}`);
    expect(answer.headers.get("x-prompt-tokens")).toBe("18");
    expect(answer.headers.get("x-generated-tokens")).toBe("6");
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    const booked = (await gateway.usage()).slice(before);
    expect(booked).toMatchObject([
      {
        promptTokens: 18,
        completionTokens: 6,
        source: "api",
        tokenId: expect.any(String),
        adapterVersionId: expect.any(String),
      },
    ]);
  });

  it("answers an array at the deployment's root, as lorax-client needs it, with nulls for what is not set", async () => {
    const parameters = {
      ...prompt.parameters,
      details: true,
      temperature: null,
      merged_adapters: null,
      api_token: null,
      seed: null,
    };
    const answer = await gateway.post(gateway.deployment, { inputs: "Hi", parameters, stream: false });
    expect(answer.json).toMatchObject([
      {
        generated_text: expect.any(String),
        details: { prompt_tokens: 2, generated_tokens: 6, finish_reason: "length", skipped_tokens: 0 },
      },
    ]);
  });

  it("streams without details unless they are asked for, and without [DONE]", async () => {
    const lines = (await gateway.post(`${gateway.deployment}/generate_stream`, prompt)).text
      .trim()
      .split("\n\n")
      .map((line) => JSON.parse(line.replace(/^data: ?/, "")));
    expect(lines).toHaveLength(6);
    expect(lines.slice(0, -1).every((line) => line.generated_text === null)).toBe(true);
    expect(lines.at(-1)).toMatchObject({ generated_text: expect.any(String), details: null });
    const detailed = await gateway.post(gateway.deployment, {
      ...prompt,
      parameters: { ...prompt.parameters, details: true },
      stream: true,
    });
    expect(detailed.headers.get("content-type")).toContain("text/event-stream");
    expect(detailed.text).toContain('"generated_tokens":6');
    expect(detailed.text).not.toContain("[DONE]");
  });

  it.each([
    ["no token", () => gateway.post(`${gateway.deployment}/generate`, prompt, null), 401, "unauthenticated"],
    [
      "an unknown token",
      () => gateway.post(`${gateway.deployment}/generate`, prompt, `pb_${"0".repeat(64)}`),
      401,
      "token_invalid",
    ],
    [
      "another tenant's address",
      () => gateway.post(`${gateway.deployment}/generate`, prompt, gateway.foreignToken),
      403,
      "forbidden",
    ],
    [
      "another tenant's adapter",
      () => gateway.post(`${gateway.deployment}/generate`, { inputs: "x", parameters: { adapter_id: "foreign/1" } }),
      424,
      "generation",
    ],
    [
      "an adapter that does not exist",
      () => gateway.post(`${gateway.deployment}/generate`, { inputs: "x", parameters: { adapter_id: "nothing/9" } }),
      424,
      "generation",
    ],
    [
      "../../etc/passwd as adapter id",
      () =>
        gateway.post(`${gateway.deployment}/generate`, { inputs: "x", parameters: { adapter_id: "../../etc/passwd" } }),
      422,
      "validation",
    ],
    [
      "a local folder as adapter source",
      () =>
        gateway.post(`${gateway.deployment}/generate`, {
          inputs: "x",
          parameters: { adapter_id: "mine/1", adapter_source: "local" },
        }),
      422,
      "validation",
    ],
    [
      "adapter_id and merged_adapters at once",
      () =>
        gateway.post(`${gateway.deployment}/generate`, {
          inputs: "x",
          parameters: { adapter_id: "mine/1", merged_adapters: { ids: ["mine/1"], weights: [1] } },
        }),
      422,
      "validation",
    ],
    [
      "a foreign adapter inside a merge",
      () =>
        gateway.post(`${gateway.deployment}/generate`, {
          inputs: "x",
          parameters: { merged_adapters: { ids: ["mine/1", "foreign/1"], weights: [1, 1] } },
        }),
      424,
      "generation",
    ],
    [
      "a bound that serving checks",
      () => gateway.post(`${gateway.deployment}/generate`, { inputs: "x", parameters: { top_p: 7 } }),
      422,
      "validation",
    ],
    [
      "a prompt longer than the context",
      () => gateway.post(`${gateway.deployment}/generate`, { inputs: "x".repeat(600) }),
      422,
      "validation",
    ],
    ["no inputs", () => gateway.post(`${gateway.deployment}/generate`, { parameters: {} }), 422, "validation"],
    [
      "a body that is not JSON",
      () => gateway.post(`${gateway.deployment}/generate`, "{oops"),
      400,
      "malformed_request",
    ],
    [
      "another base model",
      () => gateway.post(`${gateway.url}/acme/deployments/v2/llms/gpt-9/generate`, prompt),
      404,
      "base_model_not_found",
    ],
  ])("refuses %s in LoRAX's shape, unbilled", async (_what, act, status, type) => {
    const before = (await gateway.usage()).length;
    const answer = await act();
    expect(answer).toMatchObject({ status, json: { error: expect.stringMatching(/.{10}/), error_type: type } });
    expect(answer.headers.get("x-request-id")).not.toBeNull();
    expect((await gateway.usage()).length).toBe(before);
  });

  it("refuses a token from the moment it is revoked", async () => {
    const made = await createToken(gateway.owner, { name: "short-lived" });
    if (!made.ok) throw new Error(made.message);
    expect((await gateway.post(`${gateway.deployment}/generate`, prompt, made.value.token)).status).toBe(200);
    await revokeToken(gateway.world.ctx, made.value.id);
    expect(await gateway.post(`${gateway.deployment}/generate`, prompt, made.value.token)).toMatchObject({
      status: 401,
      json: { error_type: "token_revoked" },
    });
  });

  it.each(["/embed", "/classify", "/classify_batch"])(
    "answers %s as a LoRAX whose model generates text",
    async (path) => {
      expect(await gateway.post(`${gateway.deployment}${path}`, { inputs: "x" })).toMatchObject({
        status: 424,
        json: { error: expect.stringContaining("does not support"), error_type: "generation" },
      });
      expect((await gateway.post(`${gateway.deployment}/v1/embeddings`, { input: "x", model: "tiny" })).status).toBe(
        424,
      );
    },
  );

  it("passes on /info, /health and /tokenize", async () => {
    expect((await gateway.send("GET", `${gateway.deployment}/info`)).json).toMatchObject({ model_id: "tiny" });
    expect((await gateway.send("GET", `${gateway.deployment}/health`)).status).toBe(200);
    expect((await gateway.post(`${gateway.deployment}/tokenize`, { inputs: "ab" })).json).toHaveLength(2);
  });
});
