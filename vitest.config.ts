import { defineConfig } from "vitest/config";

// One project a folder, each with its own vitest.config.ts where it needs one. The two kinds of tests that need more
// than a database run apart: infra/local/testing/ holds the browser tests' configuration.
export default defineConfig({
  test: {
    projects: ["packages/!(lora-py|config|bench)", "apps/{gateway,worker,web}", "infra/local"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
