import { expect, it } from "vitest";
import { parseDemoArgs } from "./demo.mjs";
import { parseTestArgs } from "./test.mjs";

it("the demo takes the reader's own data whole or not at all, one set or several", () => {
  const own = ["--data", "/x.csv", "--prompt", "Text: {text}", "--target", "label"];
  const set = { file: "/x.csv", prompt: "Text: {text}", target: "label" };
  expect(parseDemoArgs(["--exit", ...own])).toEqual({ exit: true, own: [set], minutes: null, rows: null });
  expect(parseDemoArgs([...own, ...own]).own).toEqual([set, set]);
  expect(parseDemoArgs(["--minutes", "2.5"])).toEqual({ exit: false, own: null, minutes: 2.5, rows: null });
  expect(() => parseDemoArgs(["--data", "x.csv"])).toThrow("belong together");
  expect(() => parseDemoArgs(["--dta", "x.csv"])).toThrow("--dta");
  expect(() => parseDemoArgs(["--minutes", "soon"])).toThrow('--minutes takes a number above 0, not "soon"');
});

it("the tests run whole by default, in a fixed order, and know their suites by name", () => {
  expect(parseTestArgs([])[0]).toBe("check");
  expect(parseTestArgs(["--only", "browser", "--only", "trainer"])).toEqual(["trainer", "browser"]);
  expect(() => parseTestArgs(["--only", "brwser"])).toThrow('There is no suite "brwser"');
});
