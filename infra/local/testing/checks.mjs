import path from "node:path";

/**
 * One tool's judgement of the whole repository.
 * @typedef {{ name: string, command: string, args: string[], cwd: string }} Check
 */

/**
 * @param {string} repo
 * @param {string} python
 * @returns {Check[]} the slow ones first, so that they overlap with the others
 */
export function checks(repo, python) {
  const bin = (/** @type {string} */ name) => path.join(repo, "node_modules/.bin", name);
  const pythonFolders = ["packages/lora-py", "apps/trainer", "apps/serving"];
  return [
    // one tsc at a time takes half a gigabyte; the machine has other things to do
    {
      name: "types",
      command: bin("turbo"),
      args: ["run", "typecheck", "--continue", "--concurrency=2", "--output-logs=errors-only"],
      cwd: repo,
    },
    { name: "types-infra", command: bin("tsc"), args: ["-p", "infra/local"], cwd: repo },
    { name: "types-root", command: bin("tsc"), args: ["-p", "."], cwd: repo },
    ...pythonFolders.map((folder) => ({
      name: `mypy-${path.basename(folder)}`,
      command: python,
      args: ["-m", "mypy", "--strict", packageOf(folder)],
      cwd: path.join(repo, folder),
    })),
    { name: "biome", command: bin("biome"), args: ["check", "--max-diagnostics=50", "."], cwd: repo },
    {
      name: "imports",
      command: bin("depcruise"),
      args: ["--config", ".dependency-cruiser.cjs", "apps", "packages", "infra"],
      cwd: repo,
    },
    {
      name: "ruff",
      command: python,
      args: ["-m", "ruff", "check", ...pythonFolders, "infra/local", "packages/bench"],
      cwd: repo,
    },
    {
      name: "ruff-format",
      command: python,
      args: ["-m", "ruff", "format", "--check", ...pythonFolders, "infra/local", "packages/bench"],
      cwd: repo,
    },
  ];
}

/** @param {string} folder */
function packageOf(folder) {
  const name = path.basename(folder);
  return name === "lora-py" ? "lora_py" : name;
}
