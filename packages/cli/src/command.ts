import { type ParseArgsConfig, parseArgs } from "node:util";
import { CliError } from "./failure.ts";

/** Where a command writes: results to `out`, progress to `tell`. */
export type Io = { out: (text: string) => void; tell: (text: string) => void; env: Record<string, string | undefined> };
export type Given = { words: string[]; options: Record<string, string | boolean | undefined> };
export type Command = {
  usage: string; // after "grove "
  about: string;
  words: number; // that must be given
  options: NonNullable<ParseArgsConfig["options"]>;
  run: (given: Given, io: Io) => Promise<number>; // the exit status
};

export function parse(command: Command, args: string[]): Given {
  try {
    const { values, positionals } = parseArgs({ args, options: command.options, allowPositionals: true, strict: true });
    if (positionals.length !== command.words) {
      const wanted = command.words === 0 ? "nothing" : `${command.words} ${command.words === 1 ? "word" : "words"}`;
      throw new Error(`It takes ${wanted} after its name, not ${positionals.length}.`);
    }
    const options: Given["options"] = {};
    for (const [name, value] of Object.entries(values)) if (!Array.isArray(value)) options[name] = value;
    return { words: positionals, options };
  } catch (error) {
    const advice = `Usage: grove ${command.usage}`;
    throw new CliError(error instanceof Error ? error.message : String(error), { advice, usage: true });
  }
}

export function text(given: Given, name: string): string | null {
  const value = given.options[name];
  return typeof value === "string" ? value : null;
}

export const json = { json: { type: "boolean" } } as const;

/** Columns of equal width, for people. */
export function columns(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
