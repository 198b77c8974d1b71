import { defineConfig } from "vitest/config";

// Real databases, a gateway and trainers, on machines that may be busy with something else.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 120_000 } });
