import path from "node:path";
import { defineConfig } from "vitest/config";

// The browser tests: real Chromium against a really started stack, one at a time since they share its database.
export default defineConfig({
  root: path.resolve(import.meta.dirname, "../../.."),
  test: {
    include: ["apps/web/e2e/**/*.e2e.ts"],
    fileParallelism: false,
    testTimeout: 10 * 60_000,
    hookTimeout: 2 * 60_000,
  },
});
