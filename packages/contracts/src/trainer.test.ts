import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { trainerEvent, trainerSpec } from "./trainer.ts";

const fixture = (name: string) => readFileSync(join(import.meta.dirname, "../fixtures", name), "utf8");

// apps/trainer/tests reads the same two files: a change of the wire fails on one side or the other.
describe("the trainer's wire", () => {
  it("parses the golden spec", () => {
    expect(trainerSpec.parse(JSON.parse(fixture("trainer-spec.json"))).version).toBe(1);
  });

  it("parses one golden event of every kind", () => {
    const events = fixture("trainer-events.jsonl")
      .trim()
      .split("\n")
      .map((line) => trainerEvent.parse(JSON.parse(line)).event);
    const kinds = trainerEvent.options.map((option) => option.shape.event.value);
    expect(new Set(events)).toEqual(new Set(kinds));
  });

  it("refuses a field that the contract does not name", () => {
    expect(trainerEvent.safeParse({ event: "checkpoint", step: 1, extra: 1 }).success).toBe(false);
  });
});
