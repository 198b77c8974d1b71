import path from "node:path";
import { expect, it } from "vitest";
import { parseDemoArgs } from "./demo.mjs";
import { parseTestArgs } from "./test.mjs";

it("the demo takes the reader's own data whole or not at all", () => {
  const own = ["--data", "x.csv", "--prompt", "Text: {text}", "--target", "label"];
  expect(parseDemoArgs(["--exit", ...own])).toEqual({
    exit: true,
    own: { file: path.resolve("x.csv"), prompt: "Text: {text}", target: "label" },
  });
  expect(parseDemoArgs([])).toEqual({ exit: false, own: null });
  expect(() => parseDemoArgs(["--data", "x.csv"])).toThrow("belong together");
  expect(() => parseDemoArgs(["--dta", "x.csv"])).toThrow("--dta");
});

it("the tests run whole by default, in a fixed order, and know their suites by name", () => {
  expect(parseTestArgs([])[0]).toBe("check");
  expect(parseTestArgs(["--only", "browser", "--only", "trainer"])).toEqual(["trainer", "browser"]);
  expect(() => parseTestArgs(["--only", "brwser"])).toThrow('There is no suite "brwser"');
});
