import { definitionsCsv } from "./data";
import { expect, type Line, type Step } from "./line";
import { settings } from "./settings";

const { WEB_URL } = settings;

async function upload({ page }: Line, fileName: string, text: string): Promise<void> {
  await page.goto(`${WEB_URL}/datasets`);
  await page.getByRole("button", { name: "Upload data" }).first().click();
  await page
    .getByLabel("Data file")
    .setInputFiles({ name: fileName, mimeType: "text/plain", buffer: Buffer.from(text) });
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page.waitForURL(/\/datasets\/[0-9a-f-]{36}$/);
}

export const trainSteps: Step[] = [
  {
    name: "a bad file is answered with its line, and deleted after a question",
    run: async (line) => {
      const { page } = line;
      await upload(line, "broken.jsonl", '{"definition": "a", "label": "b"}\n{"definition": "a", "label": \n');
      await page.getByText("Line 2 could not be read").waitFor({ timeout: 60_000 });
      await line.shot("bad-file");
      await page.getByRole("button", { name: "Delete" }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Delete data set" }).click();
      await page.waitForURL(/\/datasets$/);
    },
  },
  {
    name: "upload a file and read its profile",
    run: async (line) => {
      const { page, found, shot } = line;
      await upload(line, "kinds of things.csv", definitionsCsv());
      found.datasetUrl = page.url();
      await page.locator("[data-status=ready]").waitFor({ timeout: 60_000 });
      await page.getByRole("table", { name: "Columns" }).getByText("definition").waitFor();
      await page.getByText("240", { exact: true }).first().waitFor();
      await shot("dataset");
      await page.getByRole("tab", { name: "Template and token lengths" }).click();
      await page.getByText("95th percentile").waitFor();
      await shot("dataset-template");
    },
  },
  {
    name: "the form shows what the model will see and what it costs, and names a column that is not there",
    run: async ({ page, shot }) => {
      await page.getByRole("link", { name: "Fine-tune on this" }).click();
      await page.waitForURL(/\/jobs\/new/);
      const template = page.getByLabel("Prompt template");
      await template.fill("Definition: {definitoin}\nKind:");
      await page.getByText("definitoin").last().waitFor();
      await page.getByRole("status").or(page.getByRole("alert")).filter({ hasText: "definitoin" }).first().waitFor();
      await template.fill("Definition: {definition}\nKind: ");
      await page.getByLabel("Target column").selectOption("label");
      await page.locator("mark").first().waitFor();
      await page.getByLabel("Adapter repository").fill("kinds");
      await page.getByLabel("Most steps").fill("6");
      await page.getByLabel("Batch size", { exact: true }).fill("4");
      await page.getByLabel("Rank", { exact: true }).fill("0");
      await page.getByText("Must be at least 1.").waitFor();
      await page.getByLabel("Rank", { exact: true }).fill("8");
      await page.getByTestId("quote-price").waitFor();
      await shot("new-job");
    },
  },
  {
    name: "Ludwig's configuration as YAML: an unknown key is named with its line",
    run: async ({ page, shot }) => {
      await page.getByRole("tab", { name: "YAML" }).click();
      const area = page.getByLabel("Ludwig configuration as YAML");
      await page.getByText("This configuration is valid").waitFor();
      const text = await area.inputValue();
      await area.fill(`${text}learning_rat: 1\n`);
      await page.getByText(`Line ${text.split("\n").length}`, { exact: true }).waitFor();
      await page.getByText("learning_rat", { exact: true }).waitFor();
      await shot("ludwig");
      await page.getByRole("tab", { name: "Form" }).click();
      expect(
        (await page.getByLabel("Most steps").inputValue()) === "6",
        "The form lost what was typed while the YAML was looked at.",
      );
    },
  },
  {
    name: "train, and watch the curve",
    run: async ({ page, found, shot }) => {
      await page.getByRole("button", { name: "Start training" }).click();
      await page.waitForURL(/\/jobs\/[0-9a-f-]{36}$/);
      found.jobUrl = page.url();
      await page.locator("[data-status=training]").waitFor({ timeout: 120_000 });
      await page.getByRole("progressbar", { name: "Training progress" }).waitFor();
      await page.locator(".recharts-line-curve").first().waitFor({ timeout: 240_000 });
      await shot("job-live");
      await page.locator("[data-status=succeeded]").waitFor({ timeout: 300_000 });
      await page.getByText("Training loss").waitFor();
      await page.getByRole("tab", { name: "Log" }).click();
      await page.getByLabel("Log").waitFor();
      await shot("job-done");
    },
  },
  {
    name: "a checkpoint of the job answers under a name of its own, beside the base",
    run: async ({ page, shot }) => {
      await page.getByRole("tab", { name: "Checkpoints" }).click();
      await page
        .getByText(/^kinds\/[0-9a-f]{8}-step-\d+$/)
        .first()
        .waitFor();
      await page.getByRole("button", { name: "Try it" }).last().click();
      await page.getByLabel("definition", { exact: true }).fill("a large wild cat");
      await page.getByLabel("Most new tokens").fill("8");
      await page.getByRole("button", { name: "Run" }).click();
      await page.locator("[data-state=done]").nth(1).waitFor({ timeout: 120_000 });
      await shot("checkpoints");
    },
  },
  {
    name: "a sweep trains its runs side by side and says which came lowest",
    run: async ({ page, found, shot }) => {
      await page.goto(found.datasetUrl);
      await page.getByRole("link", { name: "Fine-tune on this" }).click();
      await page.getByLabel("Most steps").fill("2");
      await page.getByLabel("Adapter repository").fill("swept");
      await page.locator("summary", { hasText: "Sweep" }).click();
      await page.getByLabel("Rank to try").fill("2, 2");
      await page.getByText("A value stands here twice.").waitFor();
      await page.getByLabel("Rank to try").fill("2, 4");
      await page.getByText("Price of 2 runs, about").waitFor();
      await page.getByRole("button", { name: "Start 2 runs" }).click();
      await page.waitForURL(/\/sweeps\/[0-9a-f-]{36}$/);
      await page.locator("[data-status=succeeded]").nth(1).waitFor({ timeout: 240_000 });
      await page.getByText("lowest", { exact: true }).waitFor();
      await shot("sweep");
      await page.goto(found.jobUrl);
    },
  },
  {
    name: "the adapter: its hash, its card, its zip",
    run: async ({ page, context, found, shot }) => {
      await page
        .getByRole("link", { name: /^kinds\/\d+$/ })
        .first()
        .click();
      await page.waitForURL(/\/adapters\/kinds/);
      await page.getByText("SHA-256", { exact: true }).waitFor();
      found.adapterId = ((await page.getByText(/^kinds\/\d+ on /).textContent()) ?? "").split(" ")[0] ?? "";
      await shot("adapter");
      const zip = await context.request.get(`${WEB_URL}/api/adapters/${found.adapterId}/download`);
      const body = await zip.body();
      expect(
        zip.ok() && body.subarray(0, 2).toString() === "PK" && body.includes("adapter_model.safetensors"),
        `The download is not a zip of the adapter (HTTP ${zip.status()}, ${body.length} bytes).`,
      );
    },
  },
];
