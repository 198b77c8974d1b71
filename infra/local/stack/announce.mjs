import path from "node:path";
import { seconds } from "../lib/progress.mjs";

/**
 * @param {import("./stack.mjs").Stack} stack
 * @param {number} began
 */
export function announce(stack, began) {
  const { stackEnv, layout, progress } = stack;
  const place = (/** @type {string} */ folder) => path.relative(process.cwd(), folder) || ".";
  progress.say(`Everything runs after ${seconds(Date.now() - began)}.`);
  progress.say(`  dashboard  ${stackEnv.GROVE_WEB_URL}`);
  progress.say(`  API        ${stackEnv.GROVE_GATEWAY_URL}`);
  progress.say(`  serving    ${stackEnv.GROVE_SERVING_URL}`);
  progress.say(`  logs       ${place(layout.logs)}`);
}

/**
 * Holds the command until a signal ends it.
 * @param {import("./stack.mjs").Stack} stack
 */
export async function untilStopped(stack) {
  stack.progress.say("Ctrl-C stops everything.");
  const held = setInterval(() => {}, 60_000);
  await new Promise((resolve) => {
    if (stack.run.signal.aborted) resolve(undefined);
    stack.run.signal.addEventListener("abort", resolve, { once: true });
  });
  clearInterval(held);
}
