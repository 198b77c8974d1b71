import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { adapterFileKey } from "@grove/core/adapters/files";
import { ingestDataset } from "@grove/core/datasets/ingest";
import { bytesOf, createTestWorld, sums, type TestWorld, writeTinyBase } from "@grove/core/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { startPlainGateway } from "../../testing.ts";

let world: TestWorld;
let gateway: Awaited<ReturnType<typeof startPlainGateway>>;
let token: string;
let url: string;
beforeAll(async () => {
  world = await createTestWorld({ maxUploadBytes: 5_000_000 });
  await writeTinyBase(world);
  gateway = await startPlainGateway(world);
  ({ token, url } = gateway);
}, 90_000);
afterAll(async () => {
  await gateway.close();
  await world.close();
  expect(gateway.errors).toEqual([]);
});

async function call(
  method: string,
  path: string,
  body?: string | FormData | Record<string, unknown>,
  headers: Record<string, string> = {},
) {
  const plain = body === undefined || typeof body === "string" || body instanceof FormData;
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body === undefined ? {} : { body: plain ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, body: isJson ? JSON.parse(text) : text };
}

function form(fileName: string, content: string | Uint8Array, fields: Record<string, string> = {}): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append("file", new Blob([content]), fileName);
  return data;
}

function objects(): number {
  const folder = world.services.settings.storageFolder;
  if (!existsSync(folder)) return 0;
  return readdirSync(folder, { recursive: true }).filter((name) => statSync(join(folder, String(name))).isFile())
    .length;
}

async function uploaded(): Promise<string> {
  const made = await call("POST", "/api/v1/datasets", form("sums.jsonl", sums(), { name: "Sums" }));
  expect(made).toMatchObject({
    status: 201,
    body: { name: "Sums", fileName: "sums.jsonl", status: "profiling", splitSeed: 42 },
  });
  const { id } = z.object({ id: z.string() }).parse(made.body);
  await ingestDataset(world.services, id);
  return id;
}

const config = { baseModel: "tiny", promptTemplate: "{sum} =", targetColumn: "answer", hyperparameters: { epochs: 1 } };

test("upload by form and by plain body, read, list, preview, delete", async () => {
  const id = await uploaded();
  expect(await call("GET", `/api/v1/datasets/${id}`)).toMatchObject({
    status: 200,
    body: { status: "ready", profile: { rows: 48 } },
  });
  const plain = await call("POST", "/api/v1/datasets?fileName=few.csv&splitSeed=7", "a,b\n1,2\n", {
    "content-type": "text/csv",
  });
  expect(plain).toMatchObject({ status: 201, body: { name: "few", splitSeed: 7, bytes: 8 } });
  const list = await call("GET", "/api/v1/datasets?limit=1");
  expect(list.body).toMatchObject({ items: [{ id: plain.body.id }], nextCursor: plain.body.id });
  const { promptTemplate, targetColumn } = config;
  const preview = await call("POST", "/api/v1/datasets/preview", { datasetId: id, promptTemplate, targetColumn });
  // "0 + 0 =" is seven bytes; a space, the answer and EOS make ten
  expect(preview).toMatchObject({
    status: 200,
    body: {
      examples: [{ prompt: "0 + 0 =", completion: "0", tokens: 10 }, {}, {}],
      lengths: { rowsMeasured: 40, p50: 10 },
    },
  });
  expect(await call("DELETE", `/api/v1/datasets/${plain.body.id}`)).toMatchObject({ status: 200 });
  expect(await call("GET", `/api/v1/datasets/${plain.body.id}`)).toMatchObject({
    status: 404,
    body: { error: { code: "dataset_not_found" } },
  });
});

test("refused uploads name their reason and leave nothing behind", async () => {
  const before = [await world.services.db.dataset.count(), objects()];
  const post = (data: FormData | string, headers?: Record<string, string>) =>
    call("POST", "/api/v1/datasets", data, headers);
  expect(await post(form("book.xlsx", "PK\x03\x04"))).toMatchObject({
    status: 415,
    body: { error: { code: "dataset_format_unknown" } },
  });
  expect(await post(form("big.csv", randomBytes(6_000_000)))).toMatchObject({
    status: 413,
    body: { error: { code: "upload_too_large" } },
  });
  expect(await post(form("empty.csv", ""))).toMatchObject({ status: 422, body: { error: { code: "dataset_empty" } } });
  expect(await post(form("x.csv", "a\n1\n", { splitSeed: "many" }))).toMatchObject({
    status: 422,
    body: { error: { code: "invalid_input", field: "splitSeed" } },
  });
  expect(await post("--x\r\nnonsense", { "content-type": "multipart/form-data; boundary=x" })).toMatchObject({
    status: 400,
    body: { error: { code: "malformed_request" } },
  });
  const cut = '--x\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\n1,';
  expect(await post(cut, { "content-type": "multipart/form-data; boundary=x" })).toMatchObject({
    status: 400,
    body: { error: { code: "upload_interrupted" } },
  });
  const half = form("half.csv", randomBytes(1_000_000), { splitSeed: "many" }); // refused long before its end
  expect(await post(half)).toMatchObject({ status: 422, body: { error: { field: "splitSeed" } } });
  expect([await world.services.db.dataset.count(), objects()]).toEqual(before);
});

test("a client that hangs up in mid-upload leaves nothing behind", async () => {
  const before = objects();
  await new Promise<void>((resolve) => {
    const half = request(`${url}/api/v1/datasets?fileName=half.csv`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-length": "4000000" },
    });
    half.on("error", () => resolve());
    half.write("a,b\n");
    half.write(Buffer.alloc(1_000_000, 97), () => setTimeout(() => half.destroy(), 200));
    half.on("close", () => resolve());
  });
  await expect.poll(objects, { timeout: 5_000 }).toBe(before);
  expect(await world.services.db.dataset.count({ where: { fileName: "half.csv" } })).toBe(0);
});

test("a job by REST: quote, idempotent create, read, events, log, cancel", async () => {
  const datasetId = await uploaded();
  const body = { datasetId, repository: "sums", config };
  const quote = await call("POST", "/api/v1/jobs/quote", body); // the one longer row is cut at the 95th percentile
  expect(quote).toMatchObject({ status: 200, body: { trainTokens: 400, pricePerMillionTokensMicroUsd: "500000" } });
  const made = await call("POST", "/api/v1/jobs", body, { "idempotency-key": "one" });
  expect(made).toMatchObject({ status: 201, body: { status: "queued", repository: "sums" } });
  const again = await call("POST", "/api/v1/jobs", { ...body, idempotencyKey: "one" });
  expect(again.body.id).toBe(made.body.id);
  const other = { ...body, config: { ...config, hyperparameters: { epochs: 2 } } };
  expect(await call("POST", "/api/v1/jobs", other, { "idempotency-key": "one" })).toMatchObject({
    status: 409,
    body: { error: { code: "idempotency_conflict" } },
  });
  expect(
    await call("POST", "/api/v1/jobs", { ...body, config: { ...config, promptTemplate: "{som} =" } }),
  ).toMatchObject({
    status: 422,
    body: { error: { code: "template_column_missing", field: "config.promptTemplate" } },
  });
  expect(await call("POST", "/api/v1/jobs", { ...body, surprise: 1 })).toMatchObject({
    status: 422,
    body: { error: { code: "invalid_input" } },
  });
  expect(await call("GET", `/api/v1/jobs/${made.body.id}/events?afterSeq=0`)).toMatchObject({
    status: 200,
    body: { items: [] },
  });
  expect(await call("GET", `/api/v1/jobs/${made.body.id}/log`)).toMatchObject({ status: 200, body: "" });
  expect(await call("POST", `/api/v1/jobs/${made.body.id}/cancel`)).toMatchObject({
    status: 200,
    body: { status: "cancelled" },
  });
  expect(await call("GET", "/api/v1/jobs")).toMatchObject({ body: { items: [{ id: made.body.id }] } });
  expect(await call("GET", "/api/v1/jobs/not-an-id")).toMatchObject({
    status: 422,
    body: { error: { code: "invalid_input", field: "id" } },
  });
  const yaml =
    "model_type: llm\nbase_model: tiny\ninput_features: [sum]\noutput_features: [answer]\nadapter: lora\nepoch: 3\n";
  expect(await call("POST", "/api/v1/jobs/parse-ludwig", { datasetId, yaml })).toMatchObject({
    status: 422,
    body: { error: { code: "config_invalid", line: 6 }, problems: [{ line: 6, column: 1, key: "epoch" }] },
  });
});

async function publishedAdapter(): Promise<string> {
  const files = {
    "adapter_config.json": "{}",
    "adapter_model.safetensors": "weights",
    "README.md": "# card",
    "grove.json": "{}",
  } as const;
  const sha256 = createHash("sha256").update("{}weights").digest("hex");
  for (const name of ["adapter_config.json", "adapter_model.safetensors", "README.md", "grove.json"] as const) {
    await world.services.storage.put(adapterFileKey(sha256, name), bytesOf(files[name]));
  }
  const { db } = world.services;
  const { orgId } = world.ctx;
  const { id: datasetId } = await db.dataset.findFirstOrThrow({ where: { status: "ready" } });
  const repository = await db.repository.upsert({
    where: { orgId_name: { orgId, name: "mine" } },
    create: { orgId, name: "mine", baseModel: "tiny" },
    update: {},
  });
  const stored = {
    baseModel: "tiny",
    promptTemplate: "{sum} =",
    targetColumn: "answer",
    promptFormat: "raw",
    hyperparameters: {},
  };
  const job = await db.job.create({
    data: { orgId, datasetId, repositoryId: repository.id, name: "x", status: "succeeded", config: stored },
  });
  await db.adapterVersion.create({
    data: {
      orgId,
      repositoryId: repository.id,
      jobId: job.id,
      version: 1,
      sha256,
      bytes: 9,
      config: stored,
      trainLoss: 1,
    },
  });
  return sha256;
}

test("adapters: listed, downloaded as a zip, resolved and read by serving, and by nobody else", async () => {
  const sha256 = await publishedAdapter();
  expect(await call("GET", "/api/v1/adapters")).toMatchObject({
    status: 200,
    body: { items: [{ adapterId: "mine/1", sha256, bytes: 9 }] },
  });
  expect(await call("GET", "/api/v1/adapters/mine")).toMatchObject({
    status: 200,
    body: { name: "mine", versions: [{ version: 1 }] },
  });
  expect(await call("GET", "/api/v1/adapters/mine/2")).toMatchObject({
    status: 404,
    body: { error: { code: "adapter_not_found" } },
  });
  const zip = await fetch(`${url}/api/v1/adapters/mine/1/download`, { headers: { authorization: `Bearer ${token}` } });
  expect(zip.headers.get("content-disposition")).toContain('filename="mine-1.zip"');
  const packed = Buffer.from(await zip.arrayBuffer());
  expect(packed.subarray(0, 2).toString()).toBe("PK");
  expect(packed.includes("mine-1/adapter_model.safetensors")).toBe(true);

  const secret = { authorization: `Bearer ${world.services.settings.internalSecret}` };
  const file = `/internal/adapters/${sha256}/adapter_model.safetensors`;
  expect(await call("GET", file, undefined, secret)).toEqual({ status: 200, body: "weights" });
  expect(await call("GET", file)).toMatchObject({ status: 401 });
  for (const path of [
    `${sha256}/..%2f..%2fsource`,
    `${sha256}/passwd`,
    "..%2f..%2fetc/README.md",
    `${"0".repeat(63)}/README.md`,
  ]) {
    expect((await call("GET", `/internal/adapters/${path}`, undefined, secret)).status).toBe(422);
  }
  expect((await call("GET", `/internal/adapters/${"0".repeat(64)}/README.md`, undefined, secret)).status).toBe(404);

  const resolve = (query: string, headers?: Record<string, string>) =>
    call("GET", `/internal/adapters/resolve?${query}`, undefined, headers);
  const answer = { tenant: "acme", id: "mine/1", sha256, prompt_format: "raw", bytes: 9, base_model: "tiny" };
  expect(await resolve("id=mine/1")).toEqual({ status: 200, body: answer });
  expect(await resolve("id=mine/1&tenant=acme", secret)).toEqual({ status: 200, body: answer });
  expect(await resolve("id=mine/1&tenant=rival", secret)).toMatchObject({ status: 404 });
  expect(await resolve("id=mine/1&tenant=rival")).toMatchObject({ status: 403 });
  expect(await resolve("id=mine/1", { authorization: "Bearer wrong" })).toMatchObject({ status: 401 });
  expect(await resolve("id=../../etc/passwd&tenant=acme", secret)).toMatchObject({
    status: 404,
    body: { error: { code: "adapter_not_found" } },
  });
});
