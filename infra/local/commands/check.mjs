import { installedStep, installSteps } from "../bootstrap/bootstrap.mjs";
import { pythonPaths } from "../bootstrap/python-packages.mjs";
import { Progress } from "../lib/progress.mjs";
import { openWorkspace, perform } from "../stack/stack.mjs";
import { runChecks } from "../testing/run-checks.mjs";
import { tellTotals } from "../testing/suite.mjs";

export async function check() {
  const began = Date.now();
  const progress = new Progress();
  const workspace = openWorkspace({ env: process.env, progress });
  const { run, layout, toolEnv } = workspace;
  try {
    await perform(workspace, [
      ...installSteps(workspace),
      installedStep(workspace, ["prisma client", "python packages"]),
    ]);
    const context = {
      run,
      logs: layout.logs,
      repo: layout.repo,
      env: toolEnv,
      python: pythonPaths(layout.repo).python,
    };
    const results = await runChecks(context, (line) => progress.say(line));
    if (tellTotals(results, Date.now() - began, (line) => progress.say(line)) > 0) process.exitCode = 1;
  } finally {
    progress.clear();
    await run.stop();
  }
}
