import { adapterFileKey } from "@grove/core/adapters/files";
import { bytesOf, createTestWorld, type TestWorld } from "@grove/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startPlainGateway } from "../../testing.ts";

let world: TestWorld;
let gateway: Awaited<ReturnType<typeof startPlainGateway>>;
const sha256 = "ab".repeat(32);

beforeAll(async () => {
  world = await createTestWorld({ maxUploadBytes: 1_000 });
  gateway = await startPlainGateway(world);
  const config = { baseModel: "tiny", promptTemplate: "{a}", targetColumn: "b", hyperparameters: {} };
  for (const { orgId } of [world.ctx, world.otherCtx]) {
    const { id: repositoryId } = await world.services.db.repository.create({
      data: { orgId, name: orgId === world.ctx.orgId ? "mine" : "foreign", baseModel: "tiny" },
    });
    const origin = { kind: "upload", baseModel: null };
    await world.services.db.adapterVersion.create({
      data: { orgId, repositoryId, version: 1, sha256, bytes: 9, config, origin },
    });
  }
  for (const name of ["adapter_config.json", "adapter_model.safetensors"] as const)
    await world.services.storage.put(adapterFileKey(sha256, name), bytesOf("{}"));
}, 90_000);
afterAll(async () => {
  await gateway.close();
  await world.close();
  expect(gateway.errors).toEqual([]);
});

async function call(method: string, path: string, body?: string | Record<string, unknown>) {
  const response = await fetch(`${gateway.url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.token}` },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text.startsWith("{") ? JSON.parse(text) : text };
}

const push = { adapterId: "mine/1", hubRepo: "acme/mine", token: "hf_x" };

test("without a hub a push and a pull are refused with what to do, and the settings say so", async () => {
  expect(await call("GET", "/transfers/hub")).toMatchObject({ status: 200, body: { endpoint: null } });
  const refusal = {
    status: 409,
    body: { error: { code: "hub_disabled", message: expect.stringContaining("GROVE_HUB_ENDPOINT") } },
  };
  expect(await call("POST", "/transfers/push", push)).toMatchObject(refusal);
  expect(await call("POST", "/transfers/pull", { hubRepo: "acme/mine", repository: "back" })).toMatchObject(refusal);
});

test.each(["acme", "acme/../x", "acme/x y", "https://elsewhere/x", "acme/a--b", "-a/b"])(
  "hub repository %j is refused by name",
  async (hubRepo) => {
    expect(await call("POST", "/transfers/push", { ...push, hubRepo })).toMatchObject({
      status: 422,
      body: { error: { code: "invalid_input", field: "hubRepo" } },
    });
  },
);

test("an upload takes an adapter's files alone, within the limit, and nothing of a stranger's", async () => {
  const begun = await call("POST", "/transfers/upload", { repository: "new" });
  expect(begun).toMatchObject({ status: 201, body: { kind: "upload", status: "sending", adapterId: null } });
  const { id } = z.object({ id: z.uuid() }).parse(begun.body);
  expect(await call("PUT", `/transfers/upload/${id}/adapter_config.json`, "{}")).toMatchObject({
    status: 200,
    body: { name: "adapter_config.json", bytes: 2 },
  });
  expect((await call("PUT", `/transfers/upload/${id}/..%2fpasswd`, "x")).status).toBe(422);
  expect((await call("PUT", `/transfers/upload/${id}/adapter_model.bin`, "x")).status).toBe(422);
  expect(await call("PUT", `/transfers/upload/${id}/adapter_model.safetensors`, "x".repeat(1_001))).toMatchObject({
    status: 413,
    body: { error: { code: "upload_too_large" } },
  });
  expect(await call("POST", `/transfers/upload/${id}/finish`)).toMatchObject({
    status: 422,
    body: { error: { code: "adapter_invalid" } },
  });
  await world.services.db.adapterTransfer.update({ where: { id }, data: { orgId: world.otherCtx.orgId } });
  for (const [method, path] of [
    ["GET", `/transfers/${id}`],
    ["PUT", `/transfers/upload/${id}/adapter_config.json`],
    ["POST", `/transfers/upload/${id}/finish`],
  ] as const)
    expect(await call(method, path, method === "PUT" ? "{}" : undefined)).toMatchObject({
      status: 404,
      body: { error: { code: "transfer_not_found" } },
    });
});

test("an export is asked for with 202, listed, deleted, and downloaded only once it is made", async () => {
  const path = "/adapters/mine/1/exports";
  expect(await call("POST", path, { kind: "gguf" })).toMatchObject({
    status: 202,
    body: { status: "waiting", fileName: "mine-1.gguf" },
  });
  expect(await call("GET", path)).toMatchObject({
    status: 200,
    body: { items: [{ kind: "gguf", status: "waiting" }] },
  });
  expect(await call("GET", "/adapters/mine/1/download?format=gguf")).toMatchObject({
    status: 409,
    body: { error: { code: "export_not_ready" } },
  });
  expect(await call("DELETE", `${path}/gguf`)).toMatchObject({ status: 200 });
  expect(await call("GET", "/adapters/mine/1/download?format=gguf")).toMatchObject({
    status: 404,
    body: { error: { code: "export_not_found" } },
  });
  expect((await call("POST", path, { kind: "onnx" })).status).toBe(422);
  expect((await call("GET", "/adapters/mine/1/download?format=onnx")).status).toBe(422);
});

test("files are read one by one, and another organisation's adapter has none", async () => {
  const card = await call("GET", "/adapters/mine/1/files/README.md");
  expect(card).toMatchObject({ status: 200, body: expect.stringContaining("# mine/1") });
  expect(card.headers.get("content-length")).toBe(String(Buffer.byteLength(card.body)));
  expect((await call("GET", "/adapters/mine/1/files/passwd")).status).toBe(422);
  for (const name of ["README.md", "adapter_model.safetensors"])
    expect(await call("GET", `/adapters/foreign/1/files/${name}`)).toMatchObject({
      status: 404,
      body: { error: { code: "adapter_not_found" } },
    });
  expect((await call("GET", "/adapters/foreign/1/download")).status).toBe(404);
  expect((await call("POST", "/adapters/foreign/1/exports", { kind: "gguf" })).status).toBe(404);
});
