import path from "node:path";
import { examplePrompt } from "./evaluate.mjs";
import { dollars, resultTable } from "./table.mjs";
import { clock } from "./train.mjs";

/**
 * Every adapter at once, by the published call.
 * @param {import("./run-demo.mjs").DemoRun} run
 * @param {import("./account.mjs").Account} account
 * @param {string} baseModel
 * @param {import("./table.mjs").Outcome[]} outcomes
 * @param {import("./api.mjs").Api} api
 */
export async function tellBatch({ urls, say }, account, baseModel, outcomes, api) {
  const url = `/${account.tenant}/deployments/v2/llms/${encodeURIComponent(baseModel)}/generate`;
  const prompts = await Promise.all(outcomes.map(({ evaluation }) => examplePrompt(api, evaluation.id)));
  const answers = await Promise.all(
    outcomes.map(({ job }, i) => {
      const parameters = { adapter_id: job.adapterId, adapter_source: "pbase", max_new_tokens: 16 };
      return api.post(url, { inputs: prompts[i], parameters });
    }),
  );
  const metrics = await fetch(`${urls.serving}/metrics`).then(
    (response) => response.text(),
    () => "",
  );
  const most = /^grove_batch_adapters_max (\d+)/m.exec(metrics)?.[1];
  say("");
  say(`${outcomes.length} adapters asked at once, served from one copy of ${baseModel}${batchNote(most)}:`);
  for (const [i, { job }] of outcomes.entries()) {
    say(`  ${job.adapterId}: ${JSON.stringify(answers[i].generated_text.trim().split("\n")[0])}`);
  }
}

/** @param {string | undefined} most */
function batchNote(most) {
  return most === undefined ? "" : ` (the engine's fullest batch so far: ${most} adapters)`;
}

/**
 * @param {import("./run-demo.mjs").DemoRun} run
 * @param {import("./record.mjs").DemoRecord} record
 * @param {import("./table.mjs").Outcome[]} outcomes
 * @param {import("./api.mjs").Api} api
 * @param {number} began
 */
export async function tellEnd({ data, urls, say }, record, outcomes, api, began) {
  const usage = await api.get("/api/v1/usage?days=366");
  say("");
  for (const line of resultTable(outcomes)) say(line);
  say("");
  say(
    `Billed since the beginning: ${dollars(BigInt(usage.totalMicroUsd))}. This run took ${clock((Date.now() - began) / 1000)}.`,
  );
  say(`  dashboard  ${urls.web}`);
  say(`  sign in    ${record.email}   ${record.password === "" ? "(with the password you chose)" : record.password}`);
  say(`  API token  ${path.join(data, "demo.json")}`);
  const [first] = record.adapters;
  if (first === undefined) return;
  say("  one prompt:");
  for (const line of curl(record, first)) say(`    ${line}`);
}

/**
 * @param {import("./record.mjs").DemoRecord} record
 * @param {import("./record.mjs").DemoRecord["adapters"][number]} adapter
 */
function curl({ gatewayUrl, tenant, baseModel, apiToken }, { id, examplePrompt }) {
  const body = JSON.stringify({
    inputs: examplePrompt,
    parameters: { adapter_id: id, adapter_source: "pbase", max_new_tokens: 16 },
  });
  return [
    `curl ${gatewayUrl}/${tenant}/deployments/v2/llms/${encodeURIComponent(baseModel)}/generate \\`,
    `  -H "Authorization: Bearer ${apiToken}" -H "Content-Type: application/json" \\`,
    `  -d '${body.replaceAll("'", "'\\''")}'`,
  ];
}
