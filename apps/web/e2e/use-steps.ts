import { expect, type Step } from "./line";
import { settings } from "./settings";

const { WEB_URL, GATEWAY_URL } = settings;

/** Notes, inside the page, when each answer grew. */
function watchAnswers(): void {
  const seen: Record<string, number[]> = { "Fine-tuned answer": [], "Base answer": [] };
  Object.assign(window, { seenAnswers: seen });
  for (const [label, times] of Object.entries(seen)) {
    const panel = document.querySelector(`[aria-label="${label}"]`);
    if (panel !== null)
      new MutationObserver(() => times.push(performance.now())).observe(panel, {
        subtree: true,
        childList: true,
        characterData: true,
      });
  }
}

async function callGateway(token: string, adapterId: string): Promise<{ status: number; body: string }> {
  const tenant = "acme-botanics";
  const model = process.env.GROVE_BASE_MODEL ?? "smollm2-135m-instruct";
  const answer = await fetch(`${GATEWAY_URL}/${tenant}/deployments/v2/llms/${model}/generate`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({
      inputs: "Definition: a large cat\nKind: ",
      parameters: { adapter_id: adapterId, adapter_source: "pbase", max_new_tokens: 4 },
    }),
  });
  return { status: answer.status, body: await answer.text() };
}

export const useSteps: Step[] = [
  {
    name: "playground: fine-tuned and base answer side by side, streaming at the same time",
    run: async ({ page, found, shot }) => {
      await page.getByRole("link", { name: "Try it" }).click();
      await page.waitForURL(/\/lora-land\?adapter=/);
      await page.getByRole("group", { name: "Example rows" }).getByRole("button").first().click();
      expect(
        (await page.getByLabel("definition", { exact: true }).inputValue()).length > 10,
        "The example did not fill the field.",
      );
      await page.getByLabel("Most new tokens").fill("40");
      await page.evaluate(watchAnswers);
      await page.getByRole("button", { name: "Run" }).click();
      await page.getByRole("button", { name: "Stop" }).waitFor();
      await page.locator("[data-state=done]").nth(1).waitFor({ timeout: 120_000 });
      const seen = await page.evaluate(() => ("seenAnswers" in window ? JSON.stringify(window.seenAnswers) : "{}"));
      const times: Record<string, number[]> = JSON.parse(seen);
      const adapter = times["Fine-tuned answer"] ?? [];
      const base = times["Base answer"] ?? [];
      expect(
        adapter.length >= 2 && base.length >= 4,
        `The answers came in ${adapter.length} and ${base.length} pieces: that is no stream.`,
      );
      expect(
        (adapter[0] ?? 0) < (base.at(-1) ?? 0) && (base[0] ?? 0) < (adapter.at(-1) ?? 0),
        "One side waited for the other.",
      );
      expect((await page.getByText("cost", { exact: true }).count()) === 2, "Both sides must show what they cost.");
      expect(found.adapterId !== "", "No adapter to ask.");
      await shot("playground");
    },
  },
  {
    name: "a stopped answer stops",
    run: async ({ page }) => {
      await page.getByLabel("Most new tokens").fill("1024");
      await page.getByRole("button", { name: "Run" }).click();
      await page.locator("[data-state=running]").first().waitFor();
      await page.getByRole("button", { name: "Stop" }).click();
      await page.getByRole("button", { name: "Run" }).waitFor({ timeout: 5_000 });
      expect((await page.locator("[data-state=stopped]").count()) > 0, "No answer says that it was stopped.");
    },
  },
  {
    name: "evaluate against the base, and read the worst rows",
    run: async ({ page, found, shot }) => {
      await page.goto(`${WEB_URL}/evals/new?adapter=${encodeURIComponent(found.adapterId)}`);
      await page.getByLabel("Rows").fill("8");
      await page.getByRole("button", { name: "Start evaluation" }).click();
      await page.waitForURL(/\/evals\/[0-9a-f-]{36}$/);
      await page.locator("[data-status=succeeded]").waitFor({ timeout: 240_000 });
      await page.getByText("Accuracy, free generation").waitFor();
      await page.getByText("Accuracy, forced choice").waitFor();
      const first = page.locator("details").first();
      await first.locator("summary").click();
      await first.getByText("Definition:").waitFor();
      await shot("evaluation");
    },
  },
  {
    name: "make a token, copy it, call the gateway with it",
    run: async ({ page, found, shot }) => {
      await page.goto(`${WEB_URL}/tokens`);
      await page.getByLabel("Name of the token").fill("browser test");
      await page.getByRole("button", { name: "Make token" }).click();
      await page.getByTestId("new-token").waitFor();
      await page.getByRole("button", { name: "Copy the token" }).click();
      found.token = await page.evaluate(() => navigator.clipboard.readText());
      expect(
        /^pb_/.test(found.token) && found.token === ((await page.getByTestId("new-token").textContent()) ?? ""),
        "The clipboard does not hold the token.",
      );
      await shot("token");
      await page.reload();
      await page.getByRole("table", { name: "API tokens" }).waitFor();
      expect(!(await page.content()).includes(found.token), "The token is shown a second time.");
      const { status, body } = await callGateway(found.token, found.adapterId);
      expect(
        status === 200 && body.includes("generated_text"),
        `The gateway answered ${status}: ${body.slice(0, 300)}`,
      );
    },
  },
  {
    name: "the quick start holds the reader's own token and address",
    run: async ({ page, found, shot }) => {
      await page.goto(`${WEB_URL}/serving`);
      await page.getByLabel("Model", { exact: true }).selectOption(found.adapterId);
      await page.getByRole("button", { name: "Make token" }).click();
      const token = (await page.getByTestId("new-token").textContent()) ?? "";
      const code = (await page.getByLabel("curl code", { exact: true }).textContent()) ?? "";
      expect(
        code.includes(token) && code.includes(GATEWAY_URL) && code.includes(found.adapterId),
        `The snippet is not the reader's own: ${code}`,
      );
      await shot("quick-start");
    },
  },
  {
    name: "a revoked token gets 401",
    run: async ({ page, found }) => {
      await page.goto(`${WEB_URL}/tokens`);
      await page.getByRole("button", { name: "Revoke browser test" }).first().click();
      await page.getByRole("dialog").getByRole("button", { name: "Revoke token" }).click();
      await page.getByRole("dialog").waitFor({ state: "hidden" });
      const { status, body } = await callGateway(found.token, found.adapterId);
      expect(status === 401, `Expected 401 for a revoked token, got ${status}: ${body.slice(0, 300)}`);
    },
  },
  {
    name: "each list shows what was made, and leads to it",
    run: async ({ page, shot }) => {
      for (const stage of ["datasets", "jobs", "adapters", "evals"]) {
        await page.goto(`${WEB_URL}/${stage}`);
        const row = page.getByRole("table").locator(`a[href^="/${stage}/"]`).first();
        await row.waitFor();
        await shot(`list-${stage}`);
        await row.click();
        await page.waitForURL(new RegExp(`/${stage}/[^/]+$`));
      }
    },
  },
  {
    name: "usage counts all of it",
    run: async ({ page, shot }) => {
      await page.goto(`${WEB_URL}/usage`);
      const table = page.getByRole("table", { name: "Usage by day and adapter" });
      await table.waitFor();
      for (const source of ["Training", "Playground", "Evaluation", "API"])
        await table.getByRole("cell", { name: source, exact: true }).first().waitFor();
      expect(((await page.getByTestId("usage-total").textContent()) ?? "") !== "$0.00", "Nothing was billed.");
      await shot("usage");
      await page.goto(WEB_URL);
      await page.getByRole("heading", { name: "Newest jobs" }).waitFor();
      await shot("overview");
    },
  },
];
