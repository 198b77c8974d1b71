import path from "node:path";
import { parseArgs } from "node:util";
import { Failure } from "../lib/failure.mjs";
import { Progress } from "../lib/progress.mjs";
import { announce, untilStopped } from "../stack/announce.mjs";
import { openStack, startAll } from "../stack/stack.mjs";

const usage = "npm run demo -- [--exit] [--minutes N] [--rows N] [--data FILE --prompt TEMPLATE --target COLUMN]...";

/**
 * @typedef {{ file: string, prompt: string, target: string }} OwnData
 * @typedef {object} DemoArguments
 * @property {boolean} exit end when the demo is over, rather than stay up
 * @property {OwnData[] | null} own the reader's own data, an adapter each; null for the demo's
 * @property {number | null} minutes of training for each adapter
 * @property {number | null} rows to evaluate
 */

/**
 * @param {string[]} args
 * @returns {DemoArguments}
 */
export function parseDemoArgs(args) {
  const { exit = false, data = [], prompt = [], target = [], minutes, rows } = parsed(args);
  if (data.length !== prompt.length || data.length !== target.length) {
    throw new Failure("--data, --prompt and --target belong together.", {
      advice: `For example: npm run demo -- --data reviews.csv --prompt "Review: {text} Mood:" --target mood`,
    });
  }
  const own = data.map((file, index) => ({
    // npm runs scripts in the checkout; the file is named from where the person is
    file: path.resolve(process.env.INIT_CWD ?? process.cwd(), file),
    prompt: prompt[index] ?? "",
    target: target[index] ?? "",
  }));
  return {
    exit,
    own: own.length > 0 ? own : null,
    minutes: positive("--minutes", minutes),
    rows: positive("--rows", rows),
  };
}

/** @param {string[]} args */
function parsed(args) {
  const flag = /** @type {const} */ ({ type: "boolean" });
  const text = /** @type {const} */ ({ type: "string" });
  const texts = /** @type {const} */ ({ type: "string", multiple: true });
  const options = { exit: flag, data: texts, prompt: texts, target: texts, minutes: text, rows: text };
  try {
    return parseArgs({ args, options, strict: true }).values;
  } catch (error) {
    throw new Failure(error instanceof Error ? error.message : String(error), { advice: `Usage: ${usage}` });
  }
}

/**
 * @param {string} name
 * @param {string | undefined} value
 */
function positive(name, value) {
  if (value === undefined) return null;
  const number = Number(value);
  if (Number.isFinite(number) && number > 0) return number;
  throw new Failure(`${name} takes a number above 0, not ${JSON.stringify(value)}.`, { advice: `Usage: ${usage}` });
}

/** @param {string[]} args */
export async function demo(args) {
  const began = Date.now();
  const { exit, ...options } = parseDemoArgs(args);
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
      options,
      signal: stack.run.signal,
      say: (/** @type {string} */ line) => progress.say(line),
    });
    if (!exit) await untilStopped(stack);
  } finally {
    progress.clear();
    await stack.run.stop();
  }
}
