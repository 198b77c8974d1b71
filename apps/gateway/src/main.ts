import { closeServices, createServices } from "@grove/core/context";
import { serve } from "@hono/node-server";
import { createApp } from "./app.ts";
import { loadGatewaySettings } from "./env.ts";

const STOP_MS = 6_000; // answers under way get this long after SIGTERM

const settings = loadGatewaySettings();
const services = createServices(settings.core);
const app = createApp(services, {
  onError: (error, requestId) =>
    console.error(
      JSON.stringify({ level: "error", requestId, error: error instanceof Error ? error.stack : String(error) }),
    ),
});
const server = serve({ fetch: app.fetch, hostname: settings.host, port: settings.port }, (address) => {
  console.log(`gateway ready on http://${settings.host}:${address.port}`);
});

async function stop(): Promise<void> {
  const late = setTimeout(() => process.exit(0), STOP_MS);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await closeServices(services);
  clearTimeout(late);
}
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
