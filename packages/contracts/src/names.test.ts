import { describe, expect, it } from "vitest";
import { adapterId, slug, toSlug } from "./names.ts";

describe("adapterId", () => {
  it("accepts repository/version", () => {
    expect(adapterId.parse("support-intents/12")).toBe("support-intents/12");
  });

  it.each([
    "../../etc/passwd",
    "/etc/passwd",
    "a/0",
    "a/01",
    "a//1",
    "a/1/2",
    "A/1",
    "a/1 ",
    "a%2f1",
    "..",
    "-a/1",
    `${"a".repeat(64)}/1`,
  ])("refuses %s", (id) => {
    expect(adapterId.safeParse(id).success).toBe(false);
  });
});

describe("toSlug", () => {
  it.each([
    ["Support intents!", "support-intents"],
    ["  Café au lait ", "cafe-au-lait"],
    ["日本", "untitled"],
    ["x".repeat(80), "x".repeat(63)],
  ])("turns %j into a valid slug", (text, expected) => {
    expect(toSlug(text)).toBe(expected);
    expect(slug.safeParse(toSlug(text)).success).toBe(true);
  });
});
