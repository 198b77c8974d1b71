import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { filesBelow, hashOf, readFrom, tailOf, writeAtomically } from "./files.mjs";

it("a hash changes with a content, a name, a removal and a fact", () => {
  const folder = temporaryFolder();
  const [one, two] = [path.join(folder, "one"), path.join(folder, "two")];
  fs.writeFileSync(one, "a");
  const first = hashOf(folder, [one], ["x"]);
  expect(hashOf(folder, [one], ["y"])).not.toBe(first);
  fs.renameSync(one, two);
  expect(hashOf(folder, [two], ["x"])).not.toBe(first);
  expect(hashOf(folder, [one], ["x"])).not.toBe(first);
  fs.writeFileSync(one, "b");
  expect(hashOf(folder, [one], ["x"])).not.toBe(first);
  fs.writeFileSync(one, "a");
  expect(hashOf(folder, [one], ["x"])).toBe(first);
});

it("a file written atomically leaves no half-written neighbour", () => {
  const folder = temporaryFolder();
  writeAtomically(path.join(folder, "deep/secret"), "x", 0o600);
  expect(fs.readdirSync(path.join(folder, "deep"))).toEqual(["secret"]);
  expect(fs.statSync(path.join(folder, "deep/secret")).mode & 0o777).toBe(0o600);
});

it("files below a folder leave out what is skipped, in a stable order", () => {
  const folder = temporaryFolder();
  for (const name of ["b/x.ts", "a.ts", "node_modules/y.ts"]) writeAtomically(path.join(folder, name), "");
  const found = filesBelow(folder, (name) => name === "node_modules").map((file) => path.relative(folder, file));
  expect(found).toEqual(["a.ts", "b/x.ts"]);
});

it("a log is read from where a process began, also when it has become shorter since", () => {
  const file = path.join(temporaryFolder(), "log");
  fs.writeFileSync(file, "old\nnew\n");
  expect(readFrom(file, 4)).toBe("new\n");
  expect(readFrom(file, 400)).toBe("old\nnew\n");
  expect(tailOf(file, 1)).toEqual(["new"]);
});
