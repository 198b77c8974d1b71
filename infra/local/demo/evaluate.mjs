import { Failure } from "../lib/failure.mjs";
import { pause } from "./api.mjs";
import { firstUnbroken } from "./train.mjs";

const LOOK_EVERY_MS = 1_000;
const TELL_EVERY_MS = 10_000;

/**
 * @param {import("./api.mjs").Api} api
 * @param {import("./tasks.mjs").Task} task
 * @param {{ adapterId: string, datasetId: string }} made
 * @param {(line: string) => void} say
 * @returns {Promise<any>} the finished evaluation
 */
export async function evaluateOnce(api, task, { adapterId, datasetId }, say) {
  const { evalRows, maxNewTokens } = task;
  const input = {
    adapterId,
    datasetId,
    split: "test",
    rows: evalRows,
    ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
  };
  let found = await firstUnbroken(input, (body) => api.post("/api/v1/evals", body));
  if (found.status === "succeeded") say(`  evaluated before: ${found.rows} rows`);
  let told = Date.now();
  while (found.status === "queued" || found.status === "running") {
    await pause(LOOK_EVERY_MS, api.signal);
    found = await api.get(`/api/v1/evals/${found.id}`);
    if (Date.now() - told < TELL_EVERY_MS) continue;
    told = Date.now();
    say(`  evaluating adapter and base: ${found.done}/${found.rows} rows of the ${found.split} split`);
  }
  if (found.status === "succeeded") return found;
  throw new Failure(`The evaluation of ${adapterId} ${found.status}: ${found.error?.message ?? ""}`);
}

/**
 * The first prompt of the evaluation, for readers who want to send one themselves.
 * @param {import("./api.mjs").Api} api
 * @param {string} evalId
 * @returns {Promise<string>}
 */
export async function examplePrompt(api, evalId) {
  const { items } = await api.get(`/api/v1/evals/${evalId}/rows?limit=1&order=index`);
  return items[0]?.prompt ?? "";
}
