import { z } from "zod";

const environment = z.object({
  WEB_URL: z.url(),
  GATEWAY_URL: z.url(),
  CHROMIUM: z.string().default("/usr/bin/chromium"),
  SCREENSHOTS: z.string().optional(),
  E2E_EMAIL: z.email().default("e2e@grove.test"),
  E2E_PASSWORD: z.string().min(10).default("a long enough password"),
});

const read = environment.parse(process.env);
export const settings = {
  ...read,
  WEB_URL: read.WEB_URL.replace(/\/$/, ""),
  GATEWAY_URL: read.GATEWAY_URL.replace(/\/$/, ""),
};
