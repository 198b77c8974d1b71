import { createServer } from "node:http";
import { closeServices, createServices } from "@grove/core/context";
import { loadEnv } from "./env.ts";
import { startWorker } from "./worker.ts";

const STOP_MS = 7_000; // then the process ends as it is: the sweep of the next worker takes its jobs back

const env = loadEnv();
const services = createServices(env.core);
const worker = await startWorker(services, {
  ...env,
  onError: (where, error) => log(`${where}: ${error instanceof Error ? error.message : String(error)}`),
});
const health = env.healthPort === null ? null : serveHealth(env.healthPort);
log("worker ready");

let stopping = false;
for (const name of ["SIGTERM", "SIGINT"] as const) {
  process.on(name, () => {
    if (stopping) return;
    stopping = true;
    log(`${name}: stopping`);
    setTimeout(() => process.exit(1), STOP_MS).unref();
    void stop().then(() => process.exit(0));
  });
}

async function stop(): Promise<void> {
  health?.close();
  await worker.stop();
  await closeServices(services);
}

function serveHealth(port: number): ReturnType<typeof createServer> {
  return createServer((request, response) => {
    const known = request.url === "/health";
    const well = known && worker.isRunning() && !stopping;
    response.writeHead(known ? (well ? 200 : 503) : 404, { "content-type": "application/json" });
    response.end(JSON.stringify({ status: well ? "ok" : "unavailable" }));
  }).listen(port, "127.0.0.1");
}

function log(text: string): void {
  console.log(`${new Date().toISOString()} ${text}`);
}
