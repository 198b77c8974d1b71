import type { ColumnProfile, DataKind, RowConfig, Split } from "@grove/contracts/datasets";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { Dataset } from "@grove/db";
import type { Services } from "../context.ts";
import { readRows } from "./rows.ts";
import { checkTemplate, compileTemplate, known, type TemplateProblem } from "./template.ts";

/** A line of the trainer's file (contracts README §1). */
type TrainerRow =
  | { prompt: string; completion: string }
  | { messages: unknown }
  | { text: string }
  | { prompt: string; chosen: string; rejected: string };
/** `prompt` and `completion` are what a person is shown, and what lengths are measured by. */
export type Rendered = { prompt: string; completion: string; rejected: string | null; row: TrainerRow };
type Values = Record<string, string>;
type Kind = {
  check: (config: RowConfig, columns: ColumnProfile[]) => Result<null, TemplateProblem>;
  renderer: (config: RowConfig) => (values: Values) => Rendered;
};

/** Everything that can be wrong with the choice of columns before any row is read. */
export function checkRows(config: RowConfig, columns: ColumnProfile[]): Result<null, TemplateProblem> {
  return kinds[config.dataKind].check(config, columns);
}

/** The rows of a split as the trainer reads them; the config has been checked. */
export async function* renderRows(
  services: Pick<Services, "storage">,
  dataset: Pick<Dataset, "id" | "profile">,
  config: RowConfig,
  split: Split,
): AsyncGenerator<Rendered> {
  const render = kinds[config.dataKind].renderer(config);
  for await (const { values } of readRows(services, dataset, { split })) yield render(values);
}

const kinds: Record<DataKind, Kind> = {
  template: {
    check: (config, columns) =>
      checkTemplate(
        config,
        columns.map((column) => column.name),
      ),
    renderer(config) {
      const promptOf = compileTemplate(config.promptTemplate);
      return (values) => {
        const prompt = promptOf(values);
        const completion = values[config.targetColumn] ?? "";
        return { prompt, completion, rejected: null, row: { prompt, completion } };
      };
    },
  },
  messages: {
    check(config, columns) {
      const column = findColumn(config.targetColumn, columns, "targetColumn");
      if (!column.ok) return column;
      if (column.value.type !== "json")
        return fail(
          "config_invalid",
          `The column "${config.targetColumn}" does not hold conversations: each cell must be a list like [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].`,
          { field: "targetColumn" },
        );
      return needFormat(config, "chat", "Conversations are told to the model with its chat template");
    },
    renderer: (config) => (values) => renderConversation(values[config.targetColumn] ?? ""),
  },
  text: {
    check(config, columns) {
      const column = findColumn(config.targetColumn, columns, "targetColumn");
      return column.ok ? needFormat(config, "raw", "Plain text is learnt as written") : column;
    },
    renderer: (config) => (values) => {
      const text = values[config.targetColumn] ?? "";
      return { prompt: "", completion: text, rejected: null, row: { text } };
    },
  },
  preference: {
    check(config, columns) {
      const checked = kinds.template.check(config, columns);
      if (!checked.ok) return checked;
      const { rejectedColumn, targetColumn } = config;
      if (rejectedColumn === null || rejectedColumn === targetColumn)
        return fail("config_invalid", "Choose the column with the answers that are not wanted.", {
          field: "rejectedColumn",
        });
      const column = findColumn(rejectedColumn, columns, "rejectedColumn");
      return column.ok ? ok(null) : column;
    },
    renderer(config) {
      const promptOf = compileTemplate(config.promptTemplate);
      return (values) => {
        const prompt = promptOf(values);
        const chosen = values[config.targetColumn] ?? "";
        const rejected = values[config.rejectedColumn ?? ""] ?? "";
        return { prompt, completion: chosen, rejected, row: { prompt, chosen, rejected } };
      };
    },
  },
};

function renderConversation(cell: string): Rendered {
  const messages = parseJson(cell);
  const turns = Array.isArray(messages) ? messages.map(turnOf) : [{ role: "", content: cell }];
  const before = turns.slice(0, -1).map((turn) => `${turn.role}: ${turn.content}\n`);
  return {
    prompt: `${before.join("")}assistant: `,
    completion: turns.at(-1)?.content ?? "",
    rejected: null,
    row: { messages },
  };
}

function findColumn(
  name: string,
  columns: ColumnProfile[],
  field: string,
): Result<ColumnProfile, "target_column_missing"> {
  const column = columns.find((one) => one.name === name);
  if (column) return ok(column);
  const names = columns.map((one) => one.name);
  return fail("target_column_missing", `The data set has no column "${name}" to learn. ${known(name, names)}`, {
    field,
  });
}

function needFormat(config: RowConfig, format: RowConfig["promptFormat"], why: string): Result<null, "config_invalid"> {
  if (config.promptFormat === format) return ok(null);
  return fail("config_invalid", `${why}: set the prompt format to "${format}".`, { field: "promptFormat" });
}

/** Whatever a cell holds, the trainer says by line what is wrong with it. */
function turnOf(message: unknown): { role: string; content: string } {
  const { role, content } = typeof message === "object" && message !== null ? (message as Record<string, unknown>) : {};
  return { role: String(role ?? ""), content: typeof content === "string" ? content : JSON.stringify(content ?? "") };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
