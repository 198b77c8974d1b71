import { datasetProfile, type Split } from "@grove/contracts/datasets";
import { z } from "zod";
import type { Services } from "../context.ts";
import { lineBlocks } from "./lines.ts";
import { splitKey } from "./split.ts";

export type DatasetRow = { index: number; values: Record<string, string> };
const storedRow = z.tuple([z.int()], z.string());

/** Rows of a ready data set, in file order; `index` is the row's place in the whole file. What a row lacks is an empty cell. */
export async function* readRows(
  services: Pick<Services, "storage">,
  dataset: { id: string; profile: unknown },
  choice: { split: Split; limit?: number },
): AsyncGenerator<DatasetRow> {
  const columns = datasetProfile.parse(dataset.profile).columns.map((column) => column.name);
  const source = await services.storage.get(splitKey(dataset.id, choice.split));
  if (source === null)
    throw new Error(`Data set ${dataset.id} is not ready: its ${choice.split} rows are not in the object store.`);
  let left = choice.limit ?? Number.POSITIVE_INFINITY;
  for await (const block of lineBlocks(source, Number.POSITIVE_INFINITY)) {
    if (!block.ok) throw new Error(`Stored rows of data set ${dataset.id} are damaged: ${block.message}`);
    for (const line of block.value.text.split("\n")) {
      if (line === "") continue;
      if (left-- <= 0) return;
      const [index, ...cells] = storedRow.parse(JSON.parse(line));
      yield { index, values: Object.fromEntries(columns.map((name, i) => [name, cells[i] ?? ""])) };
    }
  }
}
