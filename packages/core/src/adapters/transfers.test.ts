import { createReadStream } from "node:fs";
import { cp, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import type { Result } from "@grove/contracts/errors";
import { pullInput, pushInput, uploadAdapterInput } from "@grove/contracts/transfers";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OrgCtx } from "../context.ts";
import { emptyDataset, makeTinyModels, publishAdapter, type TinyModels } from "../serving/testing.ts";
import { createTestWorld, type TestWorld } from "../testing.ts";
import { readAdapterFile } from "./download.ts";
import { getAdapter } from "./read.ts";
import { resolveAdapter } from "./resolve.ts";
import { runTransfer } from "./run-transfer.ts";
import { hubToken, startHub, type TestHub } from "./testing.ts";
import {
  beginUpload,
  finishUpload,
  getTransfer,
  listTransfers,
  pullAdapter,
  pushAdapter,
  putUploadFile,
} from "./transfers.ts";

let models: TinyModels;
let hub: TestHub;
let world: TestWorld;
const forever = new AbortController().signal;

beforeAll(async () => {
  models = await makeTinyModels(1);
  process.env.PYTHONPATH = join(import.meta.dirname, "../../../lora-py");
  hub = await startHub(join(import.meta.dirname, "../../../../.venv/bin/python"));
  world = await createTestWorld({ baseModel: models.base, hubEndpoint: hub.url });
  const datasetId = await emptyDataset(world.ctx);
  await publishAdapter(world.ctx, adapter(), { repository: "mine", datasetId });
}, 180_000);
afterAll(async () => {
  hub.stop();
  await world.close();
  await models.remove();
});

function adapter() {
  const [first] = models.adapters;
  if (!first) throw new Error("not made");
  return first;
}

function unwrap<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.value;
}

async function ended(ctx: OrgCtx, id: string, lastAttempt = true) {
  await runTransfer(world.services, { transferId: id, lastAttempt }, forever);
  return unwrap(await getTransfer(ctx, id));
}

const push = (hubRepo: string, token = hubToken) => pushInput.parse({ adapterId: "mine/1", hubRepo, token });
const pull = (ctx: OrgCtx, hubRepo: string, repository: string, token?: string) =>
  pullAdapter(ctx, pullInput.parse({ hubRepo, repository, token }));

const cardOf = (ctx: OrgCtx, id: string) => textOf(ctx, id, "README.md");

async function textOf(ctx: OrgCtx, id: string, name: AdapterFileName): Promise<string> {
  const file = unwrap(await readAdapterFile(ctx, id, name));
  return Buffer.concat(await file.stream.toArray()).toString("utf8");
}

test("what is pushed comes back as a version of the same hash, asked with the same template, servable at once", async () => {
  const pushed = await ended(world.ctx, unwrap(await pushAdapter(world.ctx, push("acme/mine"))).id);
  expect(pushed).toMatchObject({ kind: "push", status: "ready", adapterId: "mine/1", message: null });
  expect(pushed.result).toMatchObject({ url: `${hub.url}/acme/mine`, commit: expect.stringMatching(/^[0-9a-f]{40}$/) });

  const pulled = await ended(world.ctx, unwrap(await pull(world.ctx, "acme/mine", "back", hubToken)).id);
  expect(pulled).toMatchObject({ kind: "pull", status: "ready", adapterId: "back/1", hubRepo: "acme/mine" });
  const version = unwrap(await getAdapter(world.ctx, "back/1"));
  expect(version).toMatchObject({
    sha256: adapter().sha256,
    jobId: null,
    trainLoss: null,
    origin: { kind: "hub", endpoint: hub.url, repo: "acme/mine", revision: "main", commit: pushed.result?.commit },
    config: { promptTemplate: "Text: {text}\nLabel:", promptFormat: "raw", baseModel: "tiny" },
  });
  expect(await resolveAdapter(world.ctx, "back/1")).toMatchObject({ ok: true, value: { sha256: adapter().sha256 } });
  const card = await cardOf(world.ctx, "back/1");
  expect(card).toContain(`| came from | \`acme/mine@${pushed.result?.commit}\` |`);
  expect(card.match(/^## How to use it$/gm)).toHaveLength(1); // that of the card that it came with

  const again = await ended(world.ctx, pulled.id); // a second delivery
  expect(again).toEqual(pulled);
  expect(await world.services.db.adapterVersion.count({ where: { repository: { name: "back" } } })).toBe(1);
}, 180_000);

test("the token is sealed for its row, never in clear, and gone when the transfer has ended", async () => {
  const { id } = unwrap(await pushAdapter(world.ctx, push("acme/sealed")));
  const row = () => world.services.db.adapterTransfer.findUniqueOrThrow({ where: { id } });
  const waiting = await row();
  expect(waiting.sealedToken).not.toBeNull();
  const told = JSON.stringify(waiting, (_key, value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString() : value,
  );
  expect(told).not.toContain(hubToken);
  await ended(world.ctx, id);
  expect((await row()).sealedToken).toBeNull();
}, 60_000);

test("a token that may not write is told so, at once and for good", async () => {
  const { id } = unwrap(await pushAdapter(world.ctx, push("acme/refused", "hf_wrong")));
  const failed = await ended(world.ctx, id, false);
  expect(failed).toMatchObject({ status: "failed", message: expect.stringContaining("The token may not do this") });
  expect(failed.message).not.toContain("hf_wrong");
  const row = await world.services.db.adapterTransfer.findUniqueOrThrow({ where: { id } });
  expect(row.sealedToken).toBeNull();
}, 60_000);

test("a hub that does not answer is tried again, and after the last try the transfer says so", async () => {
  const services = { ...world.services, settings: { ...world.services.settings, hubEndpoint: "http://127.0.0.1:9" } };
  const { id } = unwrap(await pull(world.ctx, "acme/mine", "away"));
  const first = await runTransfer(services, { transferId: id, lastAttempt: false }, forever);
  expect(first).toMatchObject({ ok: false, code: "hub_unavailable" });
  expect(unwrap(await getTransfer(world.ctx, id)).status).toBe("running");
  await runTransfer(services, { transferId: id, lastAttempt: true }, forever);
  expect(unwrap(await getTransfer(world.ctx, id))).toMatchObject({
    status: "failed",
    message: expect.stringContaining("The hub at http://127.0.0.1:9 could not be reached"),
  });
  expect(await world.services.db.repository.count({ where: { name: "away" } })).toBe(0);
}, 180_000);

test("without a hub in the settings nothing begins, and the refusal says how to switch it on", async () => {
  const off = { ...world.ctx, settings: { ...world.ctx.settings, hubEndpoint: null } };
  const refusal = { ok: false, code: "hub_disabled", message: expect.stringContaining("GROVE_HUB_ENDPOINT") };
  expect(await pushAdapter(off, push("acme/off"))).toMatchObject(refusal);
  expect(await pull(off, "acme/off", "off")).toMatchObject(refusal);
});

test("the same key is the same transfer; with another input it is a conflict", async () => {
  const input = { ...push("acme/keyed"), idempotencyKey: "one" };
  const [a, b] = await Promise.all([pushAdapter(world.ctx, input), pushAdapter(world.ctx, input)]);
  expect(unwrap(a).id).toBe(unwrap(b).id);
  expect(await pushAdapter(world.ctx, { ...input, hubRepo: "acme/other" })).toMatchObject({
    ok: false,
    code: "idempotency_conflict",
  });
});

async function upload(ctx: OrgCtx, folder: string, repository: string) {
  const { id } = unwrap(await beginUpload(ctx, uploadAdapterInput.parse({ repository, promptTemplate: "Say {x}" })));
  for (const name of adapterFileNames)
    unwrap(await putUploadFile(ctx, { id, name }, createReadStream(join(folder, name))));
  expect(unwrap(await finishUpload(ctx, id)).status).toBe("waiting");
  return ended(ctx, id);
}

/** A copy of the adapter's folder whose configuration says something else. */
async function changed(change: Record<string, unknown>): Promise<string> {
  const folder = await mkdtemp(join(world.folder, "changed-"));
  await cp(adapter().folder, folder, { recursive: true });
  const path = join(folder, "adapter_config.json");
  const config: unknown = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...Object(config), ...change }));
  return folder;
}

test("a folder from another organisation's disk shares the weights' bytes and nothing else of them", async () => {
  const folder = await mkdtemp(join(world.folder, "theirs-"));
  await cp(adapter().folder, folder, { recursive: true });
  await writeFile(join(folder, "README.md"), "---\nlicense: mit\n---\n\nTheirs, and <b>none</b> of ours.");
  await writeFile(join(folder, "grove.json"), JSON.stringify({ prompt_format: "raw", stopped_by: "theirs" }));
  const ours = () => Promise.all([cardOf(world.ctx, "mine/1"), textOf(world.ctx, "mine/1", "grove.json")]);
  const before = await ours();
  expect(await upload(world.otherCtx, folder, "theirs")).toMatchObject({ status: "ready", adapterId: "theirs/1" });
  const version = unwrap(await getAdapter(world.otherCtx, "theirs/1"));
  expect(version).toMatchObject({
    sha256: adapter().sha256,
    origin: { kind: "upload" },
    config: { promptTemplate: "Say {x}" },
  });
  expect(await cardOf(world.otherCtx, "theirs/1")).toContain(
    "## The card that it came with\n\nTheirs, and <b>none</b> of ours.",
  );
  expect(await ours()).toEqual(before);
  expect(await getAdapter(world.ctx, "theirs/1")).toMatchObject({ ok: false, code: "adapter_not_found" });
}, 60_000);

test.each([
  ["modules_to_save", { modules_to_save: ["lm_head"] }, "modules_to_save is set, which is not supported"],
  ["a kind that is no LoRA", { peft_type: "IA3" }, "Adapters of type 'IA3' are not supported"],
  ["a rank that does not fit the weights", { r: 5 }, "which do not fit r=5"],
])(
  "an uploaded folder with %s is refused by name, and nothing of it stays",
  async (_what, change, why) => {
    const refused = await upload(world.ctx, await changed(change), "refused");
    expect(refused).toMatchObject({ status: "failed", adapterId: null, message: expect.stringContaining(why) });
    expect(await world.services.db.repository.count({ where: { name: "refused" } })).toBe(0);
    const keys: string[] = [];
    for await (const { key } of world.services.storage.list(`imports/${refused.id}/`)) keys.push(key);
    expect(keys).toEqual([]);
  },
  60_000,
);

test("an upload without weights is not begun, a finished one takes no more files, and strangers see neither", async () => {
  const { id } = unwrap(await beginUpload(world.ctx, uploadAdapterInput.parse({ repository: "half" })));
  const config = () => createReadStream(join(adapter().folder, "adapter_config.json"));
  const name = "adapter_config.json";
  unwrap(await putUploadFile(world.ctx, { id, name }, config()));
  expect(await finishUpload(world.ctx, id)).toMatchObject({
    ok: false,
    code: "adapter_invalid",
    message: expect.stringContaining("adapter_model.safetensors, and it has not been sent"),
  });
  expect(await putUploadFile(world.otherCtx, { id, name }, config())).toMatchObject({ code: "transfer_not_found" });
  expect(await finishUpload(world.otherCtx, id)).toMatchObject({ code: "transfer_not_found" });
  expect(await getTransfer(world.otherCtx, id)).toMatchObject({ code: "transfer_not_found" });
  const weights = createReadStream(join(adapter().folder, "adapter_model.safetensors"));
  unwrap(await putUploadFile(world.ctx, { id, name: "adapter_model.safetensors" }, weights));
  unwrap(await finishUpload(world.ctx, id));
  expect(await putUploadFile(world.ctx, { id, name }, config())).toMatchObject({ code: "transfer_not_open" });
  const theirs = unwrap(await listTransfers(world.otherCtx, { limit: 100 }));
  expect(theirs.items.map((one) => one.id)).not.toContain(id);
});
