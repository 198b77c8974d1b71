// `pnpm bench NAME [--quick] [--json FILE]` runs packages/bench/NAME/main.py in the repository's .venv, or main.mjs in Node.
// Peers are installed into a venv of their own by the bench that compares with them.
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dirname, "..");
const root = join(folder, "../..");
const python = join(root, ".venv/bin/python");
const mainOf = (name) =>
  ["main.py", "main.mjs"].map((file) => join(folder, name, file)).find((file) => existsSync(file));
const names = readdirSync(folder).filter((name) => mainOf(name) !== undefined);
const [name, ...args] = process.argv.slice(2);

if (name === undefined || !names.includes(name)) {
  console.error(`Say which benchmark: pnpm bench ${names.join(" | ")} [--quick] [--json FILE]`);
  process.exit(2);
}
if (!existsSync(python)) {
  console.error("There is no .venv yet. Run `npm start` once, stop it with Ctrl-C, then come back.");
  process.exit(2);
}
const paths = ["packages/lora-py", "apps/trainer", "apps/serving"].map((path) => join(root, path));
const main = mainOf(name);
const child = spawn(main.endsWith(".py") ? python : process.execPath, [main, ...args], {
  cwd: process.cwd(),
  stdio: "inherit",
  env: { ...process.env, PYTHONPATH: paths.join(":"), OMP_WAIT_POLICY: "PASSIVE" },
});
child.on("exit", (code, signal) => process.exit(signal ? 1 : (code ?? 1)));
