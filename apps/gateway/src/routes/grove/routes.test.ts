import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { startTestGateway, type TestGateway } from "../../testing.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
}, 90_000);
afterAll(() => gateway?.close());
afterEach(() => expect(gateway.errors).toEqual([]));

describe("/api/v1", () => {
  it("makes, lists and revokes tokens", async () => {
    const answer = await gateway.post("/api/v1/tokens", { name: "from a script" });
    expect(answer.status).toBe(201);
    const made = z.looseObject({ id: z.string(), token: z.string(), prefix: z.string() }).parse(answer.json);
    expect((await gateway.send("GET", "/api/v1/organisation", made.token)).json).toEqual({
      id: gateway.world.ctx.orgId,
      slug: "acme",
    });
    const revoked = await gateway.send("DELETE", `/api/v1/tokens/${made.id}`);
    expect(revoked.json).toMatchObject({ id: made.id, revokedAt: expect.any(String) });
    expect((await gateway.send("GET", "/api/v1/organisation", made.token)).status).toBe(401);
    const listed = { id: made.id, name: "from a script", prefix: made.prefix };
    expect((await gateway.send("GET", "/api/v1/tokens")).json).toMatchObject({
      items: expect.arrayContaining([expect.objectContaining(listed)]),
    });
  });

  it("reports usage with money as text", async () => {
    expect((await gateway.post(`${gateway.deployment}/generate`, { inputs: "x" })).status).toBe(200);
    const money = expect.stringMatching(/^\d+$/);
    expect((await gateway.send("GET", "/api/v1/usage?days=1")).json).toMatchObject({
      totalMicroUsd: money,
      rows: expect.arrayContaining([expect.objectContaining({ costMicroUsd: money })]),
    });
    expect(await gateway.send("GET", "/api/v1/usage?days=0")).toMatchObject({
      status: 422,
      json: { error: { code: "invalid_input", field: "days" } },
    });
  });

  it("describes the base model", async () => {
    expect((await gateway.send("GET", "/api/v1/base-models")).json).toEqual({
      items: [
        {
          id: "tiny",
          name: "tiny",
          contextLength: 512,
          parameters: expect.stringMatching(/^\d+K$/),
          chatTemplate: true,
        },
      ],
    });
  });

  it.each([
    [
      "an unknown evaluation",
      () => gateway.send("GET", "/api/v1/evals/00000000-0000-7000-8000-000000000000"),
      404,
      "eval_not_found",
    ],
    ["an id that is none", () => gateway.send("GET", "/api/v1/evals/x"), 422, "invalid_input"],
    ["an unknown field", () => gateway.post("/api/v1/evals", { adapterId: "mine/1", rowz: 3 }), 422, "invalid_input"],
    ["an address that does not exist", () => gateway.send("GET", "/api/v1/nothing"), 404, "route_not_found"],
    ["no token", () => gateway.send("GET", "/api/v1/tokens", null), 401, "unauthenticated"],
  ])("refuses %s", async (_what, act, status, code) => {
    expect(await act()).toMatchObject({ status, json: { error: { code } } });
  });
});
