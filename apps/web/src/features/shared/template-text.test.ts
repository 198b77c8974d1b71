import { expect, test } from "vitest";
import { templateColumns, templateParts } from "./template-text";

test("columns come once each, in the order of the template", () => {
  expect(templateColumns("A {x} and { y }, then {x}")).toEqual(["x", "y"]);
});

test("doubled braces are text, not columns", () => {
  expect(templateColumns('{{"label": "{label}"}}')).toEqual(["label"]);
  expect(
    templateParts("{{a}}")
      .map((part) => part.text)
      .join(""),
  ).toBe("{a}");
  expect(templateColumns("{} and {{}}")).toEqual([]);
});
