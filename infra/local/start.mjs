import { begin } from "./lib/begin.mjs";

// npm start: everything that the checkout needs, then the whole stack, until Ctrl-C.
await begin(async () => (await import("./commands/start.mjs")).start());
