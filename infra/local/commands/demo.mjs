import path from "node:path";
import { parseArgs } from "node:util";
import { Failure } from "../lib/failure.mjs";
import { Progress } from "../lib/progress.mjs";
import { announce, untilStopped } from "../stack/announce.mjs";
import { openStack, startAll } from "../stack/stack.mjs";

const usage = "npm run demo -- [--exit] [--data FILE --prompt TEMPLATE --target COLUMN]";

/**
 * What `infra/local/demo/run-demo.mjs` is given.
 * @typedef {object} DemoOptions
 * @property {{ file: string, prompt: string, target: string } | null} own the reader's own data
 */

/**
 * @param {string[]} args
 * @returns {{ exit: boolean, own: DemoOptions["own"] }}
 */
export function parseDemoArgs(args) {
  const values = parsed(args);
  const { data, prompt, target } = values;
  const exit = values.exit ?? false;
  if (data === undefined && prompt === undefined && target === undefined) return { exit, own: null };
  if (!data || !prompt || !target) {
    throw new Failure("--data, --prompt and --target belong together.", {
      advice: `For example: npm run demo -- --data reviews.csv --prompt "Review: {text} Mood:" --target mood`,
    });
  }
  return { exit, own: { file: path.resolve(process.cwd(), data), prompt, target } };
}

/** @param {string[]} args */
function parsed(args) {
  const text = /** @type {const} */ ({ type: "string" });
  const options = { exit: /** @type {const} */ ({ type: "boolean" }), data: text, prompt: text, target: text };
  try {
    return parseArgs({ args, options, strict: true }).values;
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message : String(error), { advice: `Usage: ${usage}` });
  }
}

/** @param {string[]} args */
export async function demo(args) {
  const began = Date.now();
  const { exit, own } = parseDemoArgs(args);
  const progress = new Progress();
  const stack = await openStack({ what: "npm run demo", progress, env: process.env });
  try {
    await startAll(stack);
    announce(stack, began);
    const { runDemo } = await import("../demo/run-demo.mjs");
    await runDemo({
      env: stack.stackEnv,
      data: stack.layout.data,
      urls: {
        web: stack.stackEnv.GROVE_WEB_URL,
        gateway: stack.stackEnv.GROVE_GATEWAY_URL,
        serving: stack.stackEnv.GROVE_SERVING_URL,
      },
      options: { own },
      signal: stack.run.signal,
      say: (/** @type {string} */ line) => progress.say(line),
    });
    if (!exit) await untilStopped(stack);
  } finally {
    progress.clear();
    await stack.run.stop();
  }
}
