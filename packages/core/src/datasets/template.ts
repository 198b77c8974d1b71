import { fail, ok, type Result } from "@grove/contracts/errors";
import { closest } from "./text.ts";

type Part = { text: string } | { column: string };
export type TemplateProblem = "config_invalid" | "template_column_missing" | "target_column_missing";
export type TemplateConfig = { promptTemplate: string; targetColumn: string };

/** `{column}` with `{{` and `}}` for braces. The renderer of the preview, the training file, the playground and the evaluation. */
export function compileTemplate(template: string): (values: Record<string, string>) => string {
  const parts = parseTemplate(template);
  if (!parts.ok) throw new Error(parts.message);
  return (values) => renderParts(parts.value, values);
}

/** The columns that a template names, each once, in order. */
export function templateColumns(template: string): string[] {
  const parts = parseTemplate(template);
  if (!parts.ok) return [];
  return [...new Set(parts.value.flatMap((part) => ("column" in part ? [part.column] : [])))];
}

/** Everything that can be wrong with a template and a target before any row is read. */
export function checkTemplate(config: TemplateConfig, columns: string[]): Result<null, TemplateProblem> {
  const field = "promptTemplate";
  const parts = parseTemplate(config.promptTemplate);
  if (!parts.ok) return parts;
  const named = templateColumns(config.promptTemplate);
  const missing = named.find((name) => !columns.includes(name));
  if (missing !== undefined)
    return fail(
      "template_column_missing",
      `The template names the column "${missing}", which the data set does not have. ${known(missing, columns)} Literal braces are written {{ and }}.`,
      { field },
    );
  if (!columns.includes(config.targetColumn))
    return fail(
      "target_column_missing",
      `The data set has no column "${config.targetColumn}" to learn. ${known(config.targetColumn, columns)}`,
      { field: "targetColumn" },
    );
  if (named.includes(config.targetColumn))
    return fail(
      "config_invalid",
      `The template shows the column "${config.targetColumn}", which is the answer to be learnt: the model would only copy it. Take {${config.targetColumn}} out of the template.`,
      { field },
    );
  if (named.length === 0)
    return fail(
      "config_invalid",
      `The template names no column, so every prompt would be the same. Put at least one in, for example {${columns.find((name) => name !== config.targetColumn) ?? "text"}}.`,
      { field },
    );
  return ok(null);
}

function renderParts(parts: Part[], values: Record<string, string>): string {
  return parts.map((part) => ("text" in part ? part.text : cellOf(part.column, values))).join("");
}

function cellOf(column: string, values: Record<string, string>): string {
  const value = Object.hasOwn(values, column) ? values[column] : undefined;
  if (value === undefined) throw new Error(`The template names the column "${column}", for which there is no value.`);
  return value;
}

function parseTemplate(template: string): Result<Part[], "config_invalid"> {
  const parts: Part[] = [];
  let text = "";
  for (let at = 0; at < template.length; at++) {
    const char = template[at];
    if (char !== "{" && char !== "}") {
      text += char;
    } else if (template[at + 1] === char) {
      text += char;
      at++;
    } else if (char === "}") {
      return unbalanced(template, at, "closes a placeholder that was never opened");
    } else {
      const end = template.indexOf("}", at);
      const column = template.slice(at + 1, end).trim();
      if (end === -1 || column.includes("{"))
        return unbalanced(template, at, "opens a placeholder that is never closed");
      if (column === "") return unbalanced(template, at, "opens a placeholder with no column name");
      if (text !== "") parts.push({ text });
      text = "";
      parts.push({ column });
      at = end;
    }
  }
  if (text !== "") parts.push({ text });
  return ok(parts);
}

function unbalanced(template: string, at: number, what: string): Result<never, "config_invalid"> {
  const line = template.slice(0, at).split("\n").length;
  return fail(
    "config_invalid",
    `In the prompt template, the brace on line ${line} ("${template.slice(at, at + 20)}") ${what}. Literal braces are written {{ and }}.`,
    { field: "promptTemplate" },
  );
}

/** The columns there are, and the one that was probably meant. */
export function known(wrong: string, columns: string[]): string {
  const near = closest(wrong, columns);
  return `Its columns are ${columns.map((name) => `"${name}"`).join(", ")}.${near === null ? "" : ` Did you mean "${near}"?`}`;
}
