import { readdirSync } from "node:fs";
import type { DatasetView } from "@grove/contracts/datasets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytesOf, createTestWorld, type TestWorld } from "../testing.ts";
import { ingestDataset } from "./ingest.ts";
import { deleteDataset, getDataset, listDatasets } from "./read.ts";
import { readRows } from "./rows.ts";
import { uploadDataset } from "./upload-dataset.ts";

let world: TestWorld;
beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());

async function ingested(fileName: string, ...parts: (string | Uint8Array)[]): Promise<DatasetView> {
  const uploaded = await uploadDataset(world.ctx, { name: fileName, fileName, splitSeed: 42 }, bytesOf(...parts));
  if (!uploaded.ok) throw new Error(uploaded.message);
  expect(uploaded.value.status).toBe("profiling");
  await ingestDataset(world.services, uploaded.value.id);
  const read = await getDataset(world.ctx, uploaded.value.id);
  if (!read.ok) throw new Error(read.message);
  return read.value;
}

async function rowsOf(dataset: DatasetView, split: "train" | "validation" | "test") {
  const rows = [];
  for await (const row of readRows(world.services, dataset, { split })) rows.push(row);
  return rows;
}

function objects(): string[] {
  return readdirSync(world.services.settings.storageFolder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => `${e.parentPath}/${e.name}`);
}

test("CSV with a BOM, CRLF, quoted line breaks and quotes comes back cell by cell", async () => {
  const dataset = await ingested(
    "a.csv",
    "\uFEFFtext,label,split\r\n",
    '"one, two","say ""hi""",train\r\n',
    '"line 1\nline 2",,dev\r\nplain,x,eval\r\n',
  );
  expect(dataset).toMatchObject({ status: "ready", format: "csv", error: null });
  expect(dataset.profile).toMatchObject({
    rows: 3,
    duplicateRows: 0,
    splitBy: "column",
    splitRows: { train: 1, validation: 1, test: 1 },
  });
  expect(dataset.profile?.columns.map((c) => [c.name, c.empty])).toEqual([
    ["text", 0],
    ["label", 1],
    ["split", 0],
  ]);
  expect(await rowsOf(dataset, "train")).toEqual([
    { index: 0, values: { text: "one, two", label: 'say "hi"', split: "train" } },
  ]);
  expect(await rowsOf(dataset, "validation")).toEqual([
    { index: 1, values: { text: "line 1\nline 2", label: "", split: "dev" } },
  ]);
});

test("JSON Lines: columns are the union over all rows, nested values stay compact JSON, a missing key is an empty cell", async () => {
  const dataset = await ingested(
    "a.jsonl",
    '{"q":"a","split":0}\n\n',
    '{"split":2,"n":1.5,"tags":["x", {"y": null}]}\r\n{"q":null,"split":1,"b":true}',
  );
  expect(dataset.profile?.columns.map((c) => [c.name, c.type, c.empty])).toEqual([
    ["q", "text", 2],
    ["split", "number", 0],
    ["n", "number", 2],
    ["tags", "json", 2],
    ["b", "boolean", 2],
  ]);
  expect(await rowsOf(dataset, "test")).toEqual([
    { index: 1, values: { q: "", split: "2", n: "1.5", tags: '["x",{"y":null}]', b: "" } },
  ]);
});

test("duplicates are counted and fall on one side; the seeded split repeats and is near 80/10/10", async () => {
  const lines = Array.from(
    { length: 4000 },
    (_, i) => `${JSON.stringify({ text: `row ${i % 2000}`, label: i % 3 === 0 ? "a" : "b" })}\n`,
  );
  const [dataset, again] = [await ingested("d.jsonl", ...lines), await ingested("d.jsonl", ...lines)];
  const profile = dataset.profile;
  expect(profile).toMatchObject({ rows: 4000, splitBy: "random", splitRows: again.profile?.splitRows });
  expect(profile?.duplicateRows).toBe(4000 - new Set(lines).size);
  expect(profile?.splitRows.train).toBeGreaterThan(3000);
  expect(profile?.splitRows.validation).toBeGreaterThan(280);
  expect(profile?.splitRows.test).toBeGreaterThan(280);
  const texts = async (split: "train" | "test") =>
    new Set((await rowsOf(dataset, split)).map((r) => JSON.stringify(r.values)));
  const [train, held] = [await texts("train"), await texts("test")];
  expect([...held].filter((text) => train.has(text))).toEqual([]);
  expect(profile?.columns[1]).toMatchObject({
    distinct: 2,
    topValues: [
      { value: "b", count: expect.any(Number) },
      { value: "a", count: expect.any(Number) },
    ],
  });
  expect(profile?.columns[0]).toMatchObject({ distinct: 2000, topValues: [] });
});

test("the same content in training and held-out rows is told, and is a duplicate whatever its split says", async () => {
  const row = (text: string, split: string) => `${JSON.stringify({ text, split })}\n`;
  const dataset = await ingested(
    "leak.jsonl",
    row("a", "train") + row("a", "train") + row("b", "train") + row("c", "validation"),
    row("a", "test") + row("a", "validation") + row("b", "test") + row("d", "test"),
  );
  expect(dataset.profile).toMatchObject({ splitBy: "column", duplicateRows: 4, leakedRows: 2 });
  const other = await ingested("other.jsonl", row("a", "left") + row("a", "right") + row("a", "left"));
  expect(other.profile).toMatchObject({ splitBy: "random", duplicateRows: 1, leakedRows: 0 });
});

test("of many labels the twenty most frequent are kept, and the five rarest", async () => {
  const lines = Array.from({ length: 30 }, (_, i) => `${JSON.stringify({ label: `class ${i}` })}\n`.repeat(3 + i));
  const dataset = await ingested("labels.jsonl", lines.join(""));
  const label = dataset.profile?.columns[0];
  expect(label).toMatchObject({ distinct: 30, topValues: expect.arrayContaining([{ value: "class 10", count: 13 }]) });
  expect(label?.topValues).toHaveLength(20);
  expect(label?.topValues[0]).toEqual({ value: "class 29", count: 32 });
  expect(label?.rarestValues).toEqual([0, 1, 2, 3, 4].map((i) => ({ value: `class ${i}`, count: 3 + i })));
});

test("distinct values above 10,000 are estimated within 5 %", async () => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `row ${i % 30_000}\n`);
  const dataset = await ingested("big.csv", "text\n", lines.join(""));
  expect(dataset.profile?.columns[0]?.distinct).toBeGreaterThan(28_500);
  expect(dataset.profile?.columns[0]?.distinct).toBeLessThan(31_500);
  expect(dataset.profile?.duplicateRows).toBe(30_000);
});

const half = Buffer.from([0xe9, 0x74, 0xe9]); // "été" in Latin-1
test.each([
  ["uneven cells", "x.csv", ["a,b\n1,2\n1,2,3\n"], "dataset_file_invalid", 3, "Line 3 has 3 cells, the header has 2"],
  [
    "uneven cells after a quoted line break",
    "x.csv",
    ['a,b\n"1\n1",2\n1\n'],
    "dataset_file_invalid",
    4,
    "Line 4 has 1 cell",
  ],
  ["a quote never closed", "x.csv", ['a,b\n1,2\n"3,4\n5,6\n'], "dataset_file_invalid", 3, "never closed"],
  ["text after a closing quote", "x.csv", ['a,b\n1,2\n"3"x,4\n'], "dataset_file_invalid", 3, "after a closing quote"],
  ["a header name twice", "x.csv", ["a,b,a\n1,2,3\n"], "dataset_file_invalid", 1, '"a" stands twice'],
  ["a header and no rows", "x.csv", ["a,b\n\n\n"], "dataset_empty", null, "no rows"],
  ["white space alone", "x.csv", ["\n\n"], "dataset_empty", null, "empty"],
  ["Latin-1 bytes", "x.csv", ["a\nb\n", half, "\nc\n"], "dataset_file_invalid", 3, "not UTF-8"],
  ["a NUL byte", "x.csv", ["a\nb\nc\0d\n"], "dataset_file_invalid", 3, "NUL"],
  ["an unknown split", "x.csv", ["a,split\n1,train\n2,holdout\n"], "dataset_file_invalid", 3, '"holdout"'],
  ["broken JSON", "x.jsonl", ['{"a":1}\n{"a":\n'], "dataset_file_invalid", 2, "not valid JSON"],
  ["a list", "x.jsonl", ['{"a":1}\n\n[1,2]\n'], "dataset_file_invalid", 3, "a list"],
  ["half a surrogate pair", "x.jsonl", ['{"a":"\\ud83d"}\n'], "dataset_file_invalid", 1, "\\u escape"],
  ["an escaped NUL", "x.jsonl", ['{"a":"\\u0000"}\n'], "dataset_file_invalid", 1, "\\u escape"],
  ["empty objects", "x.jsonl", ["{}\n{}\n"], "dataset_empty", null, "no columns"],
  [
    "an endless line",
    "x.jsonl",
    ["{}\n", ...Array.from({ length: 18 }, () => Buffer.alloc(1 << 20, 97))],
    "dataset_file_invalid",
    2,
    "longer than 16 MB",
  ],
] satisfies [string, string, (string | Uint8Array)[], string, number | null, string][])(
  "%s: the row says which line and why, and nothing is left behind",
  async (_name, fileName, parts, code, line, message) => {
    const before = objects().length;
    const dataset = await ingested(fileName, ...parts);
    expect(dataset).toMatchObject({ status: "failed", profile: null, error: { code, line } });
    expect(dataset.error?.message).toContain(message);
    expect(objects()).toHaveLength(before);
  },
);

test.each([
  ["a.xlsx", "PK\x03\x04…"],
  ["a.csv", "PK\x03\x04…"],
  ["a.parquet", "PAR1"],
  ["a.txt", "a,b\n"],
  ["noending", "a,b\n"],
  ["a.json", ' [{"a":1}]'],
])("%s is refused before anything is stored", async (fileName, content) => {
  const before = objects().length;
  const result = await uploadDataset(world.ctx, { name: "x", fileName, splitSeed: 42 }, bytesOf(content));
  expect(result).toMatchObject({ ok: false, code: "dataset_format_unknown" });
  expect(objects()).toHaveLength(before);
});

test("an upload that is empty, too large or broken off writes no row", async () => {
  const count = () => world.services.db.dataset.count();
  const before = await count();
  const small = { ...world.ctx, settings: { ...world.ctx.settings, maxUploadBytes: 10 } };
  const input = { name: "x", fileName: "x.csv", splitSeed: 42 };
  async function* broken() {
    yield Buffer.from("a,b\n");
    throw new Error("aborted");
  }
  expect(await uploadDataset(world.ctx, input, bytesOf())).toMatchObject({ ok: false, code: "dataset_empty" });
  expect(await uploadDataset(small, input, bytesOf("a,b\n1,2\n3,4\n"))).toMatchObject({
    ok: false,
    code: "upload_too_large",
  });
  expect(await uploadDataset(world.ctx, input, broken())).toMatchObject({ ok: false, code: "upload_interrupted" });
  expect(await count()).toBe(before);
});

test("one row is a data set; ingest may run twice; another organisation sees nothing", async () => {
  const dataset = await ingested("one.jsonl", '{"a":"b"}\n');
  expect(dataset).toMatchObject({ status: "ready", profile: { rows: 1 } });
  expect(await ingestDataset(world.services, dataset.id)).toMatchObject({ ok: true });
  expect(await getDataset(world.otherCtx, dataset.id)).toMatchObject({ ok: false, code: "dataset_not_found" });
  expect(await deleteDataset(world.otherCtx, dataset.id)).toMatchObject({ ok: false, code: "dataset_not_found" });
  expect((await listDatasets(world.otherCtx, { limit: 10 })).items).toEqual([]);
});

test("pages go from newest to oldest without gaps", async () => {
  const first = await listDatasets(world.ctx, { limit: 3 });
  expect(first.items).toHaveLength(3);
  const second = await listDatasets(world.ctx, { limit: 100, cursor: first.nextCursor ?? undefined });
  expect(first.items.length + second.items.length).toBe(
    await world.services.db.dataset.count({ where: { orgId: world.ctx.orgId } }),
  );
  expect(second.nextCursor).toBeNull();
});

test("a deleted data set takes its objects along", async () => {
  const before = objects().length;
  const dataset = await ingested("gone.jsonl", '{"a":"b"}\n');
  expect(await deleteDataset(world.ctx, dataset.id)).toMatchObject({ ok: true });
  expect(objects()).toHaveLength(before);
});
