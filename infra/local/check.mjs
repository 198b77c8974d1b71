import { begin } from "./lib/begin.mjs";

// pnpm check: format, lint, types and import rules of both languages.
await begin(async () => (await import("./commands/check.mjs")).check());
