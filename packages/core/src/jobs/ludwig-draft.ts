import type { Hyperparameters } from "@grove/contracts/jobs";

export type LudwigSurroundings = {
  base: string;
  aliases: string[];
  columns: string[];
  splitBy: "column" | "random";
  trainRows: number;
};
type Knob = keyof Hyperparameters;

/** What has been read so far, and the key that each part came from, so that a value out of range is reported where it stands. */
export class LudwigDraft {
  readonly surroundings: LudwigSurroundings;
  readonly inputs: { name: string; maxLength: number | null }[] = [];
  readonly outputs: { name: string; maxLength: number | null }[] = [];
  modelType: string | null = null;
  baseModel: string | null = null;
  template: string | null = null;
  task: string | null = null;
  rejectedColumn = "rejected"; // as in Ludwig
  adapterSeen = false;
  trainerSeen = false;
  batch = { rows: null as number | null, accumulated: 1, whole: null as number | null };
  globalMaxLength: number | null = null;
  readonly #knobs: Partial<Record<Knob, unknown>> = {};
  readonly #keys = new Map<string, string>();
  readonly #places = new Map<string, number>();
  readonly #notes: string[] = [];

  constructor(surroundings: LudwigSurroundings) {
    this.surroundings = surroundings;
  }

  set(knob: Knob, value: unknown, path: string[]): void {
    this.#knobs[knob] = value;
    this.from(knob, path);
  }

  /** `field` of the job's configuration comes from this key. */
  from(field: string, path: string[]): void {
    this.#keys.set(field, path.join("."));
  }

  note(text: string): void {
    if (!this.#notes.includes(text)) this.#notes.push(text);
  }

  place(key: string, offset: number): void {
    this.#places.set(key, offset);
  }

  keyOf(field: string): string {
    return this.#keys.get(field) ?? "";
  }

  placeOf(key: string): number {
    return this.#places.get(key) ?? 0;
  }

  missing(): { key: string; message: string }[] {
    const problems: { key: string; message: string }[] = [];
    const need = (there: boolean, key: string, message: string): void => {
      if (!there) problems.push({ key, message });
    };
    need(this.modelType !== null, "model_type", "model_type is missing: write model_type: llm.");
    need(this.baseModel !== null, "base_model", `base_model is missing: write base_model: ${this.surroundings.base}.`);
    need(
      this.outputs.length === 1,
      "output_features",
      this.outputs.length === 0
        ? "output_features is missing: name the column to be learnt."
        : "output_features must name exactly one column.",
    );
    need(
      this.template !== null || this.inputs.length === 1,
      "prompt.template",
      "prompt.template is missing: with it, or with exactly one input feature, it is clear what the prompt is.",
    );
    need(
      this.adapterSeen,
      "adapter",
      "adapter is missing: Grove trains LoRA adapters and never the whole base. Write adapter: {type: lora}.",
    );
    return problems;
  }

  toConfig(): unknown {
    const [input] = this.inputs;
    const [output] = this.outputs;
    const template = this.template ?? (input ? `{${input.name}}` : "");
    const task = (this.task ?? "").replaceAll("{", "{{").replaceAll("}", "}}");
    return {
      baseModel: this.baseModel,
      promptTemplate: template.replaceAll("{__task__}", task),
      targetColumn: output?.name ?? "",
      promptFormat: "raw",
      ...(this.#knobs.method === undefined ? {} : { dataKind: "preference", rejectedColumn: this.rejectedColumn }),
      hyperparameters: { ...this.#knobs, ...this.#batchSize(), ...this.#maxLength() },
    };
  }

  notes(): string[] {
    if (this.template === null) this.note("There is no prompt.template, so the prompt is the input column alone.");
    return this.#notes;
  }

  #batchSize(): { batchSize?: number } {
    if (this.batch.whole !== null) return { batchSize: this.batch.whole };
    return this.batch.rows === null ? {} : { batchSize: this.batch.rows * this.batch.accumulated };
  }

  #maxLength(): { maxLength?: number } {
    if (this.globalMaxLength !== null) return { maxLength: this.globalMaxLength };
    const parts = [...this.inputs, ...this.outputs].map((feature) => feature.maxLength);
    const known = parts.filter((length) => length !== null);
    if (known.length === 0 || known.length < parts.length) return {};
    this.from("maxLength", ["input_features"]);
    return { maxLength: known.reduce((sum, length) => sum + length, 0) };
  }
}
