import { type ColumnProfile, rowConfig } from "@grove/contracts/datasets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestWorld, readyDataset, type TestWorld } from "../testing.ts";
import { checkRows, renderRows } from "./examples.ts";

let world: TestWorld;
beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());

const conversation = [
  { role: "user", content: "2 + 3?" },
  { role: "assistant", content: "5" },
];
const row = { sum: "2 + 3", good: "5", bad: "6", messages: conversation, split: "train" };

test.each([
  [
    "prompt and answer",
    { promptTemplate: "{sum} =", targetColumn: "good" },
    { prompt: "2 + 3 =", completion: "5" },
    "2 + 3 =|5|",
  ],
  [
    "conversations",
    { dataKind: "messages", promptTemplate: "{message}", targetColumn: "messages", promptFormat: "chat" },
    { messages: conversation },
    "user: 2 + 3?\nassistant: |5|",
  ],
  ["plain text", { dataKind: "text", promptTemplate: "{text}", targetColumn: "sum" }, { text: "2 + 3" }, "|2 + 3|"],
  [
    "preferences",
    { dataKind: "preference", promptTemplate: "{sum} =", targetColumn: "good", rejectedColumn: "bad" },
    { prompt: "2 + 3 =", chosen: "5", rejected: "6" },
    "2 + 3 =|5|6",
  ],
])("a row of %s is written as the trainer reads it", async (_name, config, written, shown) => {
  const dataset = await world.services.db.dataset.findUniqueOrThrow({
    where: { id: (await readyDataset(world, "rows.jsonl", `${JSON.stringify(row)}\n`)).id },
  });
  const found = [];
  for await (const one of renderRows(world.services, dataset, rowConfig.parse(config), "train")) found.push(one);
  expect(found.map((one) => one.row)).toEqual([written]);
  expect(found.map((one) => [one.prompt, one.completion, one.rejected ?? ""].join("|"))).toEqual([shown]);
});

const columns = (["text", "json"] as const).flatMap((type): ColumnProfile[] =>
  ["a", "b"].map((name) => ({ name: `${type}_${name}`, type, empty: 0, distinct: 9, maxCharacters: 9, topValues: [] })),
);

test.each([
  [
    { dataKind: "messages", targetColumn: "text_a", promptFormat: "chat" },
    "targetColumn",
    "does not hold conversations",
  ],
  [{ dataKind: "messages", targetColumn: "json_a", promptFormat: "raw" }, "promptFormat", 'to "chat"'],
  [{ dataKind: "text", targetColumn: "nope" }, "targetColumn", 'no column "nope"'],
  [{ dataKind: "text", targetColumn: "text_a", promptFormat: "chat" }, "promptFormat", 'to "raw"'],
  [{ dataKind: "preference", targetColumn: "text_b" }, "rejectedColumn", "not wanted"],
  [{ dataKind: "preference", targetColumn: "text_b", rejectedColumn: "text_c" }, "rejectedColumn", "text_c"],
])("columns that do not go with the kind of rows are refused at their field: %j", (config, field, words) => {
  const checked = checkRows(rowConfig.parse({ promptTemplate: "{text_a}", ...config }), columns);
  expect(checked).toMatchObject({ ok: false, field, message: expect.stringContaining(words) });
});
