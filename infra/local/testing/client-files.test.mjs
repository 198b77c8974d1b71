import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { filesBelow } from "../lib/files.mjs";
import { repo } from "../lib/layout.mjs";

// dependency-cruiser judges paths; whether a file of src/app runs in the browser is written in its first line

const forbidden = /from "(@grove\/(core|db|queue|storage)[/"]|@\/server\/|server-only)/;

it("no file that runs in the browser imports server code", () => {
  const files = filesBelow(
    path.join(repo, "apps/web/src"),
    (name) => name === "node_modules" || name.includes(".test."),
  );
  const inBrowser = files.filter(
    (file) => /\.tsx?$/.test(file) && /^\s*["']use client["']/.test(fs.readFileSync(file, "utf8")),
  );
  expect(inBrowser.length).toBeGreaterThan(0);
  const offenders = inBrowser.flatMap((file) =>
    fs
      .readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => forbidden.test(line) && !line.startsWith("import type"))
      .map((line) => `${path.relative(repo, file)}: ${line}`),
  );
  expect(offenders).toEqual([]);
});
