import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytesOf, createTestWorld, readyDataset, sums, type TestWorld, writeTinyBase } from "../testing.ts";
import { previewTemplate } from "./preview.ts";
import { checkTemplate, compileTemplate, templateColumns } from "./template.ts";
import { loadTokenCounter } from "./tokens.ts";
import { uploadDataset } from "./upload-dataset.ts";

let world: TestWorld;
beforeAll(async () => {
  world = await createTestWorld();
  await writeTinyBase(world);
}, 60_000);
afterAll(() => world.close());

test("a template is rendered as written, doubled braces as braces, cells never read as templates", () => {
  expect(compileTemplate("{a}, { b c }: {{x}} }}{{")({ a: "1", "b c": "{a}" })).toBe("1, {a}: {x} }{");
  expect(templateColumns("{a} {b} {{c}} { a }")).toEqual(["a", "b"]);
  expect(() => compileTemplate("{a}")({})).toThrow('"a"');
  expect(() => compileTemplate("{toString}")({})).toThrow('"toString"');
});

test.each([
  ["{question}", "template_column_missing", 'Did you mean "questions"?'],
  ["{questions", "config_invalid", "never closed"],
  ["questions}", "config_invalid", "never opened"],
  ["{}", "config_invalid", "no column name"],
  ['{"questions": 1}', "template_column_missing", "{{ and }}"],
  ["{questions} {answer}", "config_invalid", "only copy it"],
  ["plain", "config_invalid", "every prompt would be the same"],
])("%j is refused as %s", (promptTemplate, code, words) => {
  const checked = checkTemplate({ promptTemplate, targetColumn: "answer" }, ["questions", "answer"]);
  expect(checked).toMatchObject({ ok: false, code, field: "promptTemplate", message: expect.stringContaining(words) });
});

test("token counts are those of the trainer, raw and chat, byte for byte", async () => {
  const rows = [
    ["Say hi:", "hi"],
    ["Say hi: ", "hi"],
    ["Größe?", "日本 🙂"],
    ["a", " b"],
    ["", "x"],
    ["two\nlines\n", "<|end|>"],
  ] as const;
  const script = `
import json, sys, pathlib
from trainer.encode import encoder
from trainer.rows import Completion
base = pathlib.Path(sys.argv[1])
config = json.loads((base / "config.json").read_text())
rows = json.load(sys.stdin)
counts = {f: [encoder(base, config, f).encode(Completion(p, c)).length for p, c in rows] for f in sys.argv[2:]}
print(json.dumps(counts))`;
  const { python, baseModel } = world.services.settings;
  const counter = await loadTokenCounter(baseModel.path);
  const ours = (format: "raw" | "chat") =>
    rows.map(
      ([prompt, answer]) => counter.countPrompt(prompt, format) + counter.countCompletion(prompt, answer, format),
    );
  const printed = execFileSync(python, ["-c", script, baseModel.path, "raw", "chat"], { input: JSON.stringify(rows) });
  expect({ raw: ours("raw"), chat: ours("chat") }).toEqual(JSON.parse(printed.toString()));
}, 60_000);

test("a preview shows the first rows and the lengths of all training rows", async () => {
  const dataset = await readyDataset(world, "sums.jsonl", sums());
  const input = {
    datasetId: dataset.id,
    dataKind: "template",
    promptTemplate: "{sum} =",
    targetColumn: "answer",
    rejectedColumn: null,
  } as const;
  const raw = await previewTemplate(world.ctx, { ...input, promptFormat: "raw" });
  expect(raw).toMatchObject({
    ok: true,
    value: { lengths: { rowsMeasured: 40, p50: 10, p95: 10, max: 11, total: 401 } },
  });
  const chat = await previewTemplate(world.ctx, { ...input, promptFormat: "chat" });
  expect(chat.ok && chat.value.lengths.p50).toBeGreaterThan(10);
  expect(await previewTemplate(world.otherCtx, { ...input, promptFormat: "raw" })).toMatchObject({
    ok: false,
    code: "dataset_not_found",
  });
  const waiting = await uploadDataset(world.ctx, { name: "w", fileName: "w.csv", splitSeed: 1 }, bytesOf("a\n1\n"));
  const notReady = { ...input, datasetId: waiting.ok ? waiting.value.id : "", promptFormat: "raw" } as const;
  expect(await previewTemplate(world.ctx, notReady)).toMatchObject({ ok: false, code: "dataset_not_ready" });
});

test("above 20,000 rows an even sample is measured and says so; meanwhile others are served", async () => {
  const lines = Array.from(
    { length: 44_000 },
    (_, i) => `${JSON.stringify({ q: `question ${i % 10}`, a: "yes", split: "train", i })}\n`,
  );
  const dataset = await readyDataset(world, "many.jsonl", lines.join(""));
  let longest = 0;
  let last = performance.now();
  const watch = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  const preview = await previewTemplate(world.ctx, {
    datasetId: dataset.id,
    promptTemplate: "{q}?",
    targetColumn: "a",
    rejectedColumn: null,
    dataKind: "template",
    promptFormat: "raw",
  });
  clearInterval(watch);
  if (!preview.ok) throw new Error(preview.message);
  expect(preview.value.lengths.rowsMeasured).toBeGreaterThan(14_000);
  expect(preview.value.lengths.rowsMeasured).toBeLessThanOrEqual(20_000);
  const { total, p50 } = preview.value.lengths;
  expect(Math.abs(total / 44_000 - p50)).toBeLessThan(0.5);
  expect(longest).toBeLessThan(1_000);
}, 60_000);
