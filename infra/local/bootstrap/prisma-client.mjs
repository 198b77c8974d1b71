import path from "node:path";
import { runCommand } from "../lib/command.mjs";
import { filesBelow, hashOf } from "../lib/files.mjs";
import { nodePackagesInputs } from "./node-packages.mjs";
import { isFresh, redo } from "./stamp.mjs";

/** @param {import("./context.mjs").BootstrapContext} context */
export async function generatePrismaClient({ run, layout, toolEnv }) {
  const { repo } = layout;
  const stamp = path.join(repo, "packages/db/src/generated/.grove-stamp");
  const sources = [
    ...filesBelow(path.join(repo, "prisma/schema"), () => false),
    path.join(repo, "packages/db/prisma.config.ts"),
  ];
  const inputs = hashOf(repo, sources, [nodePackagesInputs(repo)]);
  if (isFresh(stamp, inputs)) return "already there";
  await redo(stamp, inputs, () =>
    runCommand(run, {
      name: "prisma generate",
      command: "npm",
      args: ["run", "--silent", "generate"],
      cwd: path.join(repo, "packages/db"),
      env: toolEnv,
      logFile: path.join(layout.logs, "prisma-generate.log"),
      limitMs: 5 * 60_000,
    }),
  );
  return "prisma generate";
}
