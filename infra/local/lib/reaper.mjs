import { createInterface } from "node:readline";
import { Lock } from "./lock.mjs";
import { stopChildren } from "./stop-processes.mjs";

// Stands beside every run, in a session of its own, and reads from it what was started. When the pipe ends without a
// goodbye the run was killed (kill -9, closed terminal, out of memory): then nobody else can stop its processes.
// Usage: node reaper.mjs <run id>

const run = process.argv[2] ?? "";
/** @type {import("./stop-processes.mjs").ChildRecord[]} */
let children = [];
/** @type {string[]} */
const locks = [];

for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, () => {});

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.bye) process.exit(0);
  if (message.add) children.push(message.add);
  if (message.remove) children = children.filter((child) => child.pid !== message.remove);
  if (message.lock) locks.push(message.lock);
}

await stopChildren(children, `GROVE_RUN=${run}`);
for (const file of locks) new Lock(file, { pid: 0, identity: "", what: "", since: "", run, children: [] }).release();
