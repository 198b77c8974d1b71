import { defineConfig } from "vitest/config";

// Real databases, queues and Python processes, on machines that may be busy with something else.
export default defineConfig({ test: { testTimeout: 30_000, hookTimeout: 60_000 } });
