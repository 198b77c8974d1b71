import { expect, test } from "vitest";
import { parseMarkdown } from "./markdown-blocks";

test("a model card falls into its blocks, without its front matter", () => {
  const card =
    "---\nlibrary_name: peft\n---\n# kinds\n\nOne line\nand another.\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```json\n{}\n```\nend";
  expect(parseMarkdown(card)).toEqual([
    { kind: "heading", level: 1, text: "kinds" },
    { kind: "paragraph", text: "One line and another." },
    { kind: "list", items: ["a", "b"] },
    {
      kind: "table",
      rows: [
        ["x", "y"],
        ["1", "2"],
      ],
    },
    { kind: "code", text: "{}" },
    { kind: "paragraph", text: "end" },
  ]);
});

test("an unclosed fence ends with the text, and odd lines do not hang it", () => {
  expect(parseMarkdown("```\na")).toEqual([{ kind: "code", text: "a" }]);
  expect(parseMarkdown("#nothing\n*nor this")).toEqual([{ kind: "paragraph", text: "#nothing *nor this" }]);
});
