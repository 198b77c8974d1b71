import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { DownloadFormat, ExportKind } from "@grove/contracts/transfers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { emptyDataset, makeTinyModels, publishAdapter, type TinyModels } from "../serving/testing.ts";
import { createTestWorld, type TestWorld } from "../testing.ts";
import { downloadAdapter } from "./download.ts";
import { deleteExport, listExports, requestExport } from "./exports.ts";
import { exportFolder, runExport } from "./run-export.ts";
import { sweepTransfers } from "./sweep.ts";

let models: TinyModels;
let world: TestWorld;
const adapterId = "mine/1";
const forever = new AbortController().signal;

beforeAll(async () => {
  models = await makeTinyModels(1);
  process.env.PYTHONPATH = join(import.meta.dirname, "../../../lora-py");
  world = await createTestWorld({ baseModel: models.base });
  const [adapter] = models.adapters;
  if (!adapter) throw new Error("not made");
  await publishAdapter(world.ctx, adapter, { repository: "mine", datasetId: await emptyDataset(world.ctx) });
}, 90_000);
afterAll(async () => {
  await world.close();
  await models.remove();
});

async function made(kind: ExportKind, services: Services = world.services, lastAttempt = true) {
  const asked = await requestExport(world.ctx, { adapterId, kind });
  if (!asked.ok) throw new Error(asked.message);
  const row = await rowOf(kind);
  await runExport(services, { exportId: row.id, lastAttempt }, forever);
  return rowOf(kind);
}

async function rowOf(kind: ExportKind) {
  return world.services.db.adapterExport.findFirstOrThrow({
    where: { kind, version: { repository: { name: "mine" } } },
  });
}

/** What arrives at whoever downloads it, in a file; its length is the one that was told. */
async function download(format: DownloadFormat) {
  const file = await downloadAdapter(world.ctx, adapterId, format);
  if (!file.ok) throw new Error(file.message);
  const folder = await mkdtemp(join(world.folder, "download-"));
  const path = join(folder, file.value.fileName);
  await writeFile(path, file.value.stream);
  expect((await stat(path)).size).toBe(file.value.bytes);
  return { folder, path, ...file.value };
}

async function unzipped(format: DownloadFormat): Promise<string> {
  const { folder, path, fileName } = await download(format);
  await python("import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])", path, folder);
  return join(folder, fileName.replace(/\.zip$/, ""));
}

async function python(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(world.services.settings.python, ["-c", script, ...args]);
  return stdout.trim();
}

async function addEval(ctx: OrgCtx, scores: { adapter: number; base: number }): Promise<void> {
  const version = await ctx.db.adapterVersion.findFirstOrThrow({ where: { repository: { name: "mine" } } });
  const { datasetId } = await ctx.db.job.findUniqueOrThrow({ where: { id: version.jobId ?? "" } });
  const side = (score: number) => ({
    score,
    exactMatch: score,
    rougeL: score,
    forcedChoice: null,
    promptTokens: 1,
    completionTokens: 1,
    seconds: 1,
    failedRows: 0,
  });
  await ctx.db.eval.create({
    data: {
      orgId: ctx.orgId,
      adapterVersionId: version.id,
      datasetId,
      status: "succeeded",
      split: "test",
      metric: "accuracy",
      rows: 30,
      maxNewTokens: 8,
      summary: {
        metric: "accuracy",
        rows: 30,
        labels: null,
        adapter: side(scores.adapter),
        base: side(scores.base),
        seconds: 2,
      },
    },
  });
}

test("the PEFT folder is the adapter to the byte, and its card tells what an evaluation found since", async () => {
  const before = await unzipped("peft");
  expect((await readdir(before)).toSorted()).toEqual(
    ["README.md", "adapter_config.json", "adapter_model.safetensors", "grove.json"].toSorted(),
  );
  expect(await readFile(join(before, "README.md"), "utf8")).not.toContain("Evaluation");
  await addEval(world.ctx, { adapter: 0.75, base: 0.25 });

  const folder = await unzipped("peft");
  const hash = createHash("sha256");
  for (const name of ["adapter_config.json", "adapter_model.safetensors"])
    hash.update(await readFile(join(folder, name)));
  expect(hash.digest("hex")).toBe(models.adapters[0]?.sha256);
  const card = await readFile(join(folder, "README.md"), "utf8");
  expect(card).toMatch(/^---\nbase_model: "tiny"\n[\s\S]*library_name: peft\n[\s\S]*tags: \[lora, grove\]\n---\n/);
  expect(card).toContain("| accuracy | `none`, test, 30 rows | 0.250 | 0.750 |");
  expect(card).toContain("```\nText: {text}\nLabel:\n```");
  const grove = z
    .looseObject({ prompt_template: z.string() })
    .parse(JSON.parse(await readFile(join(folder, "grove.json"), "utf8")));
  expect(grove).toMatchObject({ prompt_template: "Text: {text}\nLabel:", target_column: "label", base_model: "tiny" });
});

test("a GGUF file is made once, comes with its length and name, and is made anew after it was deleted", async () => {
  expect(await downloadAdapter(world.ctx, adapterId, "gguf")).toMatchObject({ ok: false, code: "export_not_found" });
  const asked = await Promise.all([1, 2, 3].map(() => requestExport(world.ctx, { adapterId, kind: "gguf" })));
  expect(asked.map((one) => one.ok && one.value.status)).toEqual(["waiting", "waiting", "waiting"]);
  expect(await world.services.db.adapterExport.count()).toBe(1);
  expect(await downloadAdapter(world.ctx, adapterId, "gguf")).toMatchObject({ ok: false, code: "export_not_ready" });

  const row = await made("gguf");
  expect(row).toMatchObject({ status: "ready", message: null });
  const { path, fileName, bytes } = await download("gguf");
  expect([fileName, BigInt(bytes)]).toEqual(["mine-1.gguf", row.bytes]);
  const script =
    "import sys, gguf; r = gguf.GGUFReader(sys.argv[1]); print(r.fields['general.type'].contents(), len(r.tensors) > 0)";
  expect(await python(script, path)).toBe("adapter True");
  await expect(stat(exportFolder(world.services.settings, row.id))).rejects.toThrow("ENOENT"); // no scratch stays

  await runExport(world.services, { exportId: row.id, lastAttempt: true }, forever); // a second delivery
  expect(await rowOf("gguf")).toEqual(row);

  expect(await deleteExport(world.ctx, { adapterId, kind: "gguf" })).toEqual({ ok: true, value: null });
  expect(await downloadAdapter(world.ctx, adapterId, "gguf")).toMatchObject({ ok: false, code: "export_not_found" });
  expect((await made("gguf")).status).toBe("ready");
  await world.services.storage.deletePrefix("exports/"); // by hand, in the store
  expect(await downloadAdapter(world.ctx, adapterId, "gguf")).toMatchObject({ ok: false, code: "export_not_ready" });
  expect((await made("gguf")).status).toBe("ready");
  await download("gguf");
}, 60_000);

test("the merged model is a folder that transformers loads, with a card of its own", async () => {
  expect(await made("merged")).toMatchObject({ status: "ready", message: null });
  const folder = await unzipped("merged");
  const card = await readFile(join(folder, "README.md"), "utf8");
  expect(card).toContain("library_name: transformers");
  expect(card).toContain("`tiny` with a LoRA adapter merged into it");
  const script =
    "import sys, transformers; m = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1]); print(m.config.model_type)";
  expect(await python(script, folder)).toBe("llama");
}, 90_000);

test("what fails says why, and asked for again it is made", async () => {
  await deleteExport(world.ctx, { adapterId, kind: "gguf" });
  const { path } = models.base;
  const elsewhere = {
    ...world.services,
    settings: { ...world.services.settings, baseModel: { id: "tiny", path: `${path}-gone` } },
  };
  const failed = await made("gguf", elsewhere);
  expect(failed.status).toBe("failed");
  expect(failed.message).toContain("No such file or directory");
  expect(await downloadAdapter(world.ctx, adapterId, "gguf")).toMatchObject({
    ok: false,
    code: "export_not_ready",
    message: expect.stringContaining("No such file or directory"),
  });
  expect((await made("gguf")).status).toBe("ready");
}, 60_000);

test("one whose worker went away waits for the next worker's sweep", async () => {
  await deleteExport(world.ctx, { adapterId, kind: "gguf" });
  await requestExport(world.ctx, { adapterId, kind: "gguf" });
  const { id } = await rowOf("gguf");
  const leaving = new AbortController();
  const run = runExport(world.services, { exportId: id, lastAttempt: false }, leaving.signal);
  await expect.poll(async () => (await rowOf("gguf")).status).toBe("running");
  leaving.abort();
  expect(await run).toEqual({ ok: true, value: null });
  expect((await rowOf("gguf")).status).toBe("running");

  const sent: unknown[] = [];
  const queues: Services["queues"] = {
    send: async (_contract, payload) => {
      sent.push(payload);
      return { ok: true, value: null };
    },
    close: async () => undefined,
  };
  await sweepTransfers({ ...world.services, queues });
  expect(sent).toEqual([]); // its message may be on its way
  await world.services.db.adapterExport.update({ where: { id }, data: { createdAt: new Date(Date.now() - 60_000) } });
  await sweepTransfers({ ...world.services, queues });
  expect(sent).toEqual([{ exportId: id }]);
  await runExport(world.services, { exportId: id, lastAttempt: true }, forever);
  expect((await rowOf("gguf")).status).toBe("ready");
}, 60_000);

test("deleted while it is made, it leaves nothing behind", async () => {
  await deleteExport(world.ctx, { adapterId, kind: "gguf" });
  await requestExport(world.ctx, { adapterId, kind: "gguf" });
  const { id } = await rowOf("gguf");
  const run = runExport(world.services, { exportId: id, lastAttempt: true }, forever);
  await expect.poll(async () => (await rowOf("gguf")).status).toBe("running");
  await deleteExport(world.ctx, { adapterId, kind: "gguf" });
  expect(await run).toEqual({ ok: true, value: null });
  const keys: string[] = [];
  for await (const { key } of world.services.storage.list(`exports/${id}/`)) keys.push(key);
  expect(keys).toEqual([]);
}, 60_000);

test("another organisation finds none of it", async () => {
  const none = { ok: false, code: "adapter_not_found" };
  expect(await requestExport(world.otherCtx, { adapterId, kind: "gguf" })).toMatchObject(none);
  expect(await listExports(world.otherCtx, adapterId)).toMatchObject(none);
  expect(await deleteExport(world.otherCtx, { adapterId, kind: "gguf" })).toMatchObject(none);
  for (const format of ["peft", "gguf", "merged"] as const)
    expect(await downloadAdapter(world.otherCtx, adapterId, format)).toMatchObject(none);
});

test("an adapter of a base that this installation no longer has is refused by name", async () => {
  const settings = { ...world.services.settings, baseModel: { ...models.base, id: "other" } };
  expect(await requestExport({ ...world.ctx, settings }, { adapterId, kind: "gguf" })).toMatchObject({
    ok: false,
    code: "base_model_not_found",
    message: '"mine/1" is an adapter of tiny, and this installation now has other.',
  });
});
