import { datasetProfile } from "@grove/contracts/datasets";
import type { Failure } from "@grove/contracts/errors";
import { jobConfig, type LudwigProblem, type ParsedLudwig, type ParseLudwigInput } from "@grove/contracts/jobs";
import type { Dataset } from "@grove/db";
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit, type YAMLMap } from "yaml";
import type { OrgCtx } from "../context.ts";
import { checkRows } from "../datasets/examples.ts";
import { columnNames, findReadyDataset } from "../datasets/preview.ts";
import { closest } from "../datasets/text.ts";
import type { BaseSettings } from "./base-alias.ts";
import { checkMethod } from "./check-method.ts";
import { findStart } from "./continue-from.ts";
import { cureOf } from "./ludwig-cure.ts";
import { LudwigDraft } from "./ludwig-draft.ts";
import { ludwigRules, type Rule } from "./ludwig-rules.ts";

const MOST_PROBLEMS = 50;

/** A Ludwig `model_type: llm` configuration as a job's configuration: every key is taken over, explained, or refused where it stands. */
export async function parseLudwig(ctx: OrgCtx, input: ParseLudwigInput): Promise<ParsedLudwig> {
  const dataset = await findReadyDataset(ctx, input.datasetId);
  if (!dataset.ok) return { ok: false, problems: [{ line: 1, column: 1, key: "", message: dataset.message }] };
  const reader = new Reader(input.yaml, ctx.settings, dataset.value);
  const parsed = reader.read();
  if (!parsed.ok) return parsed;
  const start = await findStart(ctx, parsed.config);
  return start.ok ? parsed : reader.refuse(start);
}

class Reader {
  readonly #lines = new LineCounter();
  readonly #document: ReturnType<typeof parseDocument>;
  readonly #problems: LudwigProblem[] = [];
  readonly #draft: LudwigDraft;
  readonly #dataset: Dataset;

  constructor(text: string, { baseModel, baseAliases }: BaseSettings, dataset: Dataset) {
    this.#document = parseDocument(text, { lineCounter: this.#lines, uniqueKeys: true, prettyErrors: false });
    this.#dataset = dataset;
    const profile = datasetProfile.parse(dataset.profile);
    this.#draft = new LudwigDraft({
      base: baseModel.id,
      aliases: baseAliases,
      columns: columnNames(dataset),
      splitBy: profile.splitBy,
      trainRows: profile.splitRows.train,
    });
  }

  read(): ParsedLudwig {
    for (const error of this.#document.errors) this.#add(error.pos[0], "", `This is not valid YAML: ${error.message}`);
    if (this.#problems.length > 0) return this.#refused();
    const root = this.#document.contents;
    if (!isMap(root))
      return this.#refusedWith(0, "", "The configuration must be a list of keys, beginning with model_type: llm.");
    visit(this.#document, {
      Alias: (_key, node) =>
        this.#add(node.range?.[0] ?? 0, "", "YAML aliases are not read here: write the value out."),
    });
    if (this.#problems.length > 0) return this.#refused();
    this.#walk(root, ludwigRules, []);
    for (const { key, message } of this.#draft.missing()) this.#add(0, key, message);
    return this.#problems.length > 0 ? this.#refused() : this.#finish();
  }

  #walk(node: Node, rule: Rule, path: string[]): void {
    const start = node.range?.[0] ?? 0;
    const key = path.join(".");
    if (rule.kind === "keys") {
      if (isMap(node)) this.#walkKeys(node, rule.keys, path);
      else if (rule.short) this.#take(rule.short, node, path);
      else this.#add(start, key, `${key} must be a list of keys.`);
    } else if (rule.kind === "items") {
      if (!isSeq(node)) this.#add(start, key, `${key} must be a list.`);
      else for (const [i, item] of node.items.entries()) this.#enter(item, rule.item, [...path, String(i)], start);
    } else {
      this.#take(rule, node, path);
    }
  }

  #walkKeys(map: YAMLMap, keys: Record<string, Rule>, path: string[]): void {
    for (const pair of map.items) {
      const name = isScalar(pair.key) ? String(pair.key.value) : "";
      const at = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? map.range?.[0] ?? 0;
      const inner = Object.hasOwn(keys, name) ? keys[name] : undefined;
      if (inner === undefined) this.#addUnknown(at, [...path, name], Object.keys(keys));
      else this.#enter(pair.value, inner, [...path, name], at);
    }
  }

  #enter(value: unknown, rule: Rule, path: string[], keyStart: number): void {
    this.#draft.place(path.join("."), keyStart);
    if (isMap(value) || isSeq(value) || isScalar(value)) {
      const bare =
        isScalar(value) && value.value === null && (rule.kind === "items" || (rule.kind === "keys" && !rule.short));
      if (bare) return; // `section:` with nothing under it
      this.#walk(value, rule, path);
    } else if (rule.kind === "take") this.#report(rule.take(null, this.#draft, path), path, keyStart);
  }

  #take(rule: Extract<Rule, { kind: "take" | "only" | "ignore" }>, node: Node, path: string[]): void {
    const value: unknown = node.toJS(this.#document);
    const start = node.range?.[0] ?? 0;
    if (rule.kind === "take") this.#report(rule.take(value, this.#draft, path), path, start);
    if (rule.kind === "only" && !rule.values.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) {
      this.#add(start, path.join("."), `${path.join(".")} is not supported here: ${rule.reason}`);
    }
  }

  #report(problem: string | undefined, path: string[], start: number): void {
    if (problem !== undefined) this.#add(start, path.join("."), problem);
  }

  #finish(): ParsedLudwig {
    const raw = this.#draft.toConfig();
    const parsed = jobConfig.safeParse(raw);
    if (!parsed.success) {
      for (const issue of parsed.error.issues) {
        const field = String(issue.path.at(issue.path[0] === "hyperparameters" ? 1 : 0) ?? "");
        const key = this.#draft.keyOf(field);
        this.#add(this.#draft.placeOf(key), key, `${key || field} ${cureOf(issue)}`);
      }
      return this.#refused();
    }
    const profile = datasetProfile.parse(this.#dataset.profile);
    const rows = checkRows(parsed.data, profile.columns);
    const checked = rows.ok ? checkMethod(parsed.data, profile) : rows;
    if (!checked.ok) return this.refuse(checked);
    return { ok: true, config: parsed.data, notes: this.#draft.notes() };
  }

  /** What a check of the whole configuration found, at the key that the field came from. */
  refuse({ field, message }: Failure): ParsedLudwig {
    const key =
      this.#draft.keyOf(field?.split(".").at(-1) ?? "promptTemplate") ||
      this.#draft.keyOf("continueFrom") ||
      this.#draft.keyOf("method");
    return this.#refusedWith(this.#draft.placeOf(key), key, message);
  }

  #addUnknown(offset: number, path: string[], known: string[]): void {
    const name = path.at(-1) ?? "";
    const near = closest(name, known);
    const where = path.length > 1 ? ` under ${path.slice(0, -1).join(".")}` : "";
    const advice = near === null ? ` Known there: ${known.join(", ")}.` : ` Did you mean "${near}"?`;
    this.#add(offset, path.join("."), `Unknown key "${name}"${where}.${advice}`);
  }

  #add(offset: number, key: string, message: string): void {
    const { line, col } = this.#lines.linePos(offset);
    if (this.#problems.length < MOST_PROBLEMS)
      this.#problems.push({ line: Math.max(1, line), column: Math.max(1, col), key, message });
  }

  #refusedWith(offset: number, key: string, message: string): ParsedLudwig {
    this.#add(offset, key, message);
    return this.#refused();
  }

  #refused(): ParsedLudwig {
    return { ok: false, problems: this.#problems.toSorted((a, b) => a.line - b.line || a.column - b.column) };
  }
}
