import fs from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { temporaryFolder } from "../testing/temporary.mjs";
import { loadSecrets } from "./secrets.mjs";

it("are made once and readable by their owner alone", () => {
  const data = temporaryFolder();
  const made = loadSecrets(data);
  expect(loadSecrets(data)).toEqual(made);
  expect(new Set(Object.values(made)).size).toBe(4);
  expect(fs.statSync(path.join(data, "secrets.json")).mode & 0o777).toBe(0o600);
});

it("are closed again where a copy has opened them", () => {
  const data = temporaryFolder();
  loadSecrets(data);
  fs.chmodSync(path.join(data, "secrets.json"), 0o644);
  loadSecrets(data);
  expect(fs.statSync(path.join(data, "secrets.json")).mode & 0o777).toBe(0o600);
});

it("are not made anew beside a database that the old ones lock", () => {
  const data = temporaryFolder();
  fs.mkdirSync(path.join(data, "postgres"));
  expect(() => loadSecrets(data)).toThrow("is gone, and the database");
});

it.each(["", "{}", '{"internal":"short"}'])("are refused when damaged: %j", (content) => {
  const data = temporaryFolder();
  fs.writeFileSync(path.join(data, "secrets.json"), content);
  expect(() => loadSecrets(data)).toThrow("is damaged");
});
