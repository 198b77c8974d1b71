import { Progress } from "../lib/progress.mjs";
import { announce, untilStopped } from "../stack/announce.mjs";
import { openStack, startAll } from "../stack/stack.mjs";

export async function start() {
  const began = Date.now();
  const progress = new Progress();
  const stack = await openStack({ what: "npm start", progress, env: process.env });
  try {
    await startAll(stack);
    announce(stack, began);
    await untilStopped(stack);
  } finally {
    progress.clear();
    await stack.run.stop();
  }
}
