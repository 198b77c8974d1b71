import { begin } from "./lib/begin.mjs";

// npm test: everything that can be shown on this machine, from a fresh clone.
await begin(async () => (await import("./commands/test.mjs")).test(process.argv.slice(2)));
