import { begin } from "./lib/begin.mjs";

// pnpm dev: the stack that restarts what changes.
await begin(async () => (await import("./commands/dev.mjs")).dev());
