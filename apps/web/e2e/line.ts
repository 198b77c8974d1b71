import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { settings } from "./settings";

/** What the steps hand on to each other. */
export type Line = {
  page: Page;
  context: BrowserContext;
  shot: (name: string) => Promise<void>;
  found: { datasetUrl: string; jobUrl: string; adapterId: string; token: string };
};
export type Step = { name: string; run: (line: Line) => Promise<void> };

export function expect(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}

/** Runs the steps in order and stops at the first that fails; true when all passed. */
export async function runLine(steps: Step[]): Promise<boolean> {
  const browser = await chromium.launch({ executablePath: settings.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const noises: string[] = [];
  page.on("pageerror", (error) => noises.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    const isExpected = message.location().url.includes("/callback/credentials"); // the browser's own line about a refused sign-in
    if (message.type() === "error" && !isExpected) noises.push(`console: ${message.text()} ${message.location().url}`);
  });

  const folder = settings.SCREENSHOTS;
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  let taken = 0;
  const shot = async (name: string) => {
    if (folder === undefined) return;
    taken += 1;
    await page.screenshot({
      path: join(folder, `${String(taken).padStart(2, "0")}-${name}.png`),
      fullPage: true,
      caret: "initial",
    });
  };
  const line: Line = { page, context, shot, found: { datasetUrl: "", jobUrl: "", adapterId: "", token: "" } };
  let passed = 0;
  let failed = 0;
  for (const step of steps) {
    const began = performance.now();
    try {
      await step.run(line);
      if (noises.length > 0) throw new Error(`The browser complained: ${noises.splice(0).join(" | ")}`);
      passed += 1;
      console.log(`ok    ${step.name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed += 1;
      console.log(
        `FAIL  ${step.name}\n      at ${page.url()}\n      ${error instanceof Error ? error.message : String(error)}`,
      );
      await shot("failed");
      break;
    }
  }
  await browser.close();
  const left = steps.length - passed - failed;
  if (left > 0) console.log(`${left} steps were not run`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
