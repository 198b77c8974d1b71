import { createJob, createSweep, specs, untilEnded } from "./work.mjs";

/** @typedef {Omit<import("./round.mjs").Bench, "references" | "trainingMs">} Ground */

/**
 * Each job once alone and the sweep once, before anything is struck.
 * @param {Ground} ground
 * @param {(line: string) => void} say
 */
export async function measureReferences({ client, books, datasetId }, say) {
  /** @type {Map<string, import("./judge.mjs").Reference>} */
  const references = new Map();
  /**
   * @param {import("./work.mjs").Made} made
   * @returns {Promise<import("./judge.mjs").Reference[]>}
   */
  const outcomesOf = async ({ jobIds }) => {
    await untilEnded(client, jobIds, 180_000);
    return Promise.all(
      jobIds.map(async (id) => {
        const { row, versions, usage } = await books.account(id);
        const [version, charge] = [versions[0], usage[0]];
        if (version === undefined || charge === undefined || usage.length !== 1) {
          throw new Error(
            `Without any fault the job ${id} is ${row.status} with ${usage.length} charges: ${row.errorMessage}`,
          );
        }
        return { sha256: version.sha256, ...charge };
      }),
    );
  };
  let trainingMs = 0;
  for (const spec of /** @type {import("./work.mjs").Spec[]} */ (Object.keys(specs))) {
    if (spec === "diverging") continue;
    const began = Date.now();
    const [reference] = await outcomesOf(await createJob(client, datasetId, spec));
    if (reference === undefined) throw new Error(`No outcome of ${spec}.`);
    trainingMs = Date.now() - began;
    references.set(spec, reference);
    say(
      `alone: ${spec}: ${reference.sha256.slice(0, 12)}, ${reference.tokens} tokens, ${reference.cost} µ$, ${(trainingMs / 1000).toFixed(1)} s`,
    );
  }
  const lost = await createJob(client, datasetId, "diverging");
  await untilEnded(client, lost.jobIds, 180_000);
  const { row, usage } = await books.account(lost.jobIds[0] ?? "");
  say(`alone: diverging: ${row.status}, ${row.errorCode}, ${usage.length} charged`);
  if (row.errorCode !== "trainer_diverged" || usage.length > 0) throw new Error("A job that should diverge did not.");
  const made = await createSweep(client, datasetId);
  for (const [i, outcome] of (await outcomesOf(made)).entries()) {
    const reference = references.get(made.specs[i] ?? "");
    if (reference === undefined) throw new Error("A sweep made a job of no known kind.");
    say(`in a sweep: ${made.specs[i]}: ${outcome.sha256.slice(0, 12)}, ${outcome.tokens} tokens, ${outcome.cost} µ$`);
    if (JSON.stringify(outcome) !== JSON.stringify(reference))
      throw new Error("Without any fault the sweep differs from its jobs alone.");
  }
  return { references, trainingMs };
}
