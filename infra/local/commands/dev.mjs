import path from "node:path";
import { Progress } from "../lib/progress.mjs";
import { announce, untilStopped } from "../stack/announce.mjs";
import { restartOnChange } from "../stack/reload.mjs";
import { openStack, startAll } from "../stack/stack.mjs";

/** Which folders each process runs from; `next dev` watches its own. */
const sources = {
  gateway: ["apps/gateway/src", "packages"],
  worker: ["apps/worker/src", "packages"],
  serving: ["apps/serving/serving", "packages/lora-py/lora_py"],
};

export async function dev() {
  const began = Date.now();
  const progress = new Progress();
  const stack = await openStack({ what: "pnpm dev", progress, env: process.env, dev: true });
  try {
    await startAll(stack);
    for (const [name, folders] of Object.entries(sources)) {
      const service = stack.services.get(name);
      const language = name === "serving" ? /\.py$/ : /\.tsx?$/;
      restartOnChange({
        folders: folders.map((folder) => path.join(stack.layout.repo, folder)),
        language,
        signal: stack.run.signal,
        restart: () => service?.restart(),
      });
    }
    announce(stack, began);
    await untilStopped(stack);
  } finally {
    progress.clear();
    await stack.run.stop();
  }
}
