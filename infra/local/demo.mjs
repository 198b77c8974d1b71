import { begin } from "./lib/begin.mjs";

// npm run demo: everything from nothing, then real adapters trained, served, scored and billed.
await begin(async () => (await import("./commands/demo.mjs")).demo(process.argv.slice(2)));
