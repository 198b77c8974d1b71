import { explain, Failure, Stopped } from "./failure.mjs";

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string[]} [needs] names of steps that end before this one begins
 * @property {() => Promise<string | void>} run answers with a note for the progress line
 */

/**
 * Runs steps as soon as what they need is done. The first failure keeps the others from beginning and is what is
 * thrown, after those already begun have come to an end.
 * @param {Step[]} steps
 * @param {{ progress: import("./progress.mjs").Progress, signal: AbortSignal, onFailure: () => Promise<void> }} how
 */
export async function runSteps(steps, how) {
  /** @type {unknown} */
  let failure = null;
  /** @type {Map<string, Promise<void>>} */
  const begun = new Map();

  /** @param {Step} step */
  const begin = async (step) => {
    await Promise.all((step.needs ?? []).map((name) => begun.get(name)));
    if (failure !== null || how.signal.aborted) return;
    how.progress.begin(step.name);
    try {
      const note = await step.run();
      if (!how.signal.aborted) how.progress.end(step.name, note ?? "");
    } catch (error) {
      if (error instanceof Stopped || failure !== null) return;
      failure = named(step, explain(error));
      await how.onFailure();
    }
  };
  for (const step of ordered(steps)) begun.set(step.name, begin(step));
  await Promise.all(begun.values());
  if (failure !== null) throw failure;
  if (how.signal.aborted) throw new Stopped();
}

/**
 * @param {Step} step
 * @param {Error} error
 */
function named(step, error) {
  if (!(error instanceof Failure)) return error;
  return new Failure(`${step.name}: ${error.message}`, error);
}

/**
 * Every step after what it needs; a need that no step has is a mistake in the caller.
 * @param {Step[]} steps
 */
function ordered(steps) {
  const left = [...steps];
  /** @type {Step[]} */
  const sorted = [];
  while (left.length > 0) {
    const next = left.findIndex((step) =>
      (step.needs ?? []).every((name) => sorted.some((done) => done.name === name)),
    );
    if (next < 0)
      throw new Error(`these steps wait for a step that is not there: ${left.map((step) => step.name).join(", ")}`);
    sorted.push(...left.splice(next, 1));
  }
  return sorted;
}
