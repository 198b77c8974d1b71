import type { Page } from "playwright-core";
import { expect, type Step } from "./line";
import { settings } from "./settings";

const { WEB_URL, E2E_EMAIL, E2E_PASSWORD } = settings;

export const accountSteps: Step[] = [
  {
    name: "a visitor is led to the door, by pages that no other site can frame",
    run: async ({ page, shot }) => {
      const answer = await page.goto(`${WEB_URL}/datasets`);
      expect(/\/sign-(up|in)/.test(page.url()), `Expected a sign-up or sign-in page, got ${page.url()}`);
      const policy = (await answer?.allHeaders())?.["content-security-policy"] ?? "";
      expect(
        policy.includes("frame-ancestors 'none'") && policy.includes("'nonce-"),
        `Weak content security policy: ${policy}`,
      );
      await shot("door");
    },
  },
  {
    name: "sign up (or in, where the organisation exists)",
    run: async ({ page }) => {
      if (page.url().includes("/sign-up")) {
        await page.getByLabel("Your name").fill("Ada Gardener");
        await page.getByLabel("E-mail").fill(E2E_EMAIL);
        await page.getByLabel("Organisation").fill("Acme Botanics");
        await page.getByLabel("Password").fill(E2E_PASSWORD);
        await page.getByRole("button", { name: "Create account" }).click();
      } else await signIn(page);
      await page.getByRole("heading", { name: /Overview|Datasets/ }).waitFor();
    },
  },
  {
    name: "sign out, a wrong password is refused, the right one gets back to the page asked for",
    run: async ({ page }) => {
      // The button is drawn before its script has come: a click as early as that is lost.
      for (let tries = 0; tries < 5 && !page.url().includes("/sign-in"); tries++) {
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.waitForURL(/sign-in/, { timeout: 5_000 }).catch(() => undefined);
      }
      await page.goto(`${WEB_URL}/usage`);
      expect(page.url().endsWith("/sign-in?next=%2Fusage"), `Expected the way back to be kept, got ${page.url()}`);
      await page.goto(`${WEB_URL}/sign-up`);
      await page.getByText("Grove is already set up").waitFor();
      await page.goto(`${WEB_URL}/sign-in?next=/usage`);
      await page.getByLabel("E-mail").fill(E2E_EMAIL);
      await page.getByLabel("Password").fill("not the password");
      const refusal = page.waitForResponse(/callback\/credentials/);
      await page.getByRole("button", { name: "Sign in" }).click();
      expect((await refusal).status() === 401, "A wrong password must be a 401.");
      await page.getByText("E-mail address or password is wrong.").waitFor();
      await page.getByLabel("Password").fill(E2E_PASSWORD);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "Usage" }).waitFor();
    },
  },
];

async function signIn(page: Page): Promise<void> {
  await page.getByLabel("E-mail").fill(E2E_EMAIL);
  await page.getByLabel("Password").fill(E2E_PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
}
