// For tests: an organisation with an adapter before a server that speaks another server's wire.
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GenerateChunk } from "@grove/contracts/serving";
import type { OrgCtx } from "../../context.ts";
import { createTestWorld, type TestWorld } from "../../testing.ts";
import type { PromptCall } from "../road.ts";
import { emptyDataset, type LocalServer, listen, publishAdapter } from "../testing.ts";
import type { UpstreamSetting } from "./setting.ts";

export type Heard = {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
};
/** A server that writes down what it is asked. */
export async function fakeServer(
  answer: (heard: Heard, response: ServerResponse) => void,
): Promise<LocalServer & { heard: Heard[]; cutOff: () => number }> {
  const heard: Heard[] = [];
  let cutOff = 0; // answers that the other side did not wait for
  const server = await listen(
    createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      const body = text === "" ? {} : JSON.parse(text);
      const one = { method: request.method ?? "", path: request.url ?? "", headers: request.headers, body };
      heard.push(one);
      response.once("close", () => {
        if (!response.writableFinished) cutOff += 1;
      });
      answer(one, response);
    }),
  );
  return { ...server, heard, cutOff: () => cutOff };
}

export function sendJson(response: ServerResponse, body: unknown, status = 200, headers: Record<string, string> = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

export function sendEvents(response: ServerResponse, events: unknown[], headers: Record<string, string> = {}) {
  response.writeHead(200, { "content-type": "text/event-stream", ...headers });
  response.end(events.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`).join(""));
}

export type UpstreamWorld = {
  world: TestWorld;
  folder: string;
  sha256: string; // of mine/1
  ctxOf: (setting: UpstreamSetting) => OrgCtx;
  newCall: () => PromptCall;
  billed: (call: PromptCall) => Promise<[number | null, number | null, boolean][]>;
  close: () => Promise<void>;
};

export async function upstreamWorld(): Promise<UpstreamWorld> {
  const world = await createTestWorld();
  const folder = await mkdtemp(join(tmpdir(), "grove-upstream-"));
  const files = {
    "adapter_config.json": "{}",
    "adapter_model.safetensors": "weights",
    "README.md": "-",
    "grove.json": "{}",
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const sha256 = createHash("sha256").update("{}weights").digest("hex");
  await publishAdapter(world.ctx, { folder, sha256 }, { repository: "mine", datasetId: await emptyDataset(world.ctx) });
  let calls = 0;
  return {
    world,
    folder,
    sha256,
    ctxOf: (setting) => ({ ...world.ctx, settings: { ...world.ctx.settings, upstreams: { tiny: setting } } }),
    newCall: () => ({ source: "api", key: `prompt-upstream-${++calls}` }),
    async billed(call) {
      const rows = await world.services.db.usageEvent.findMany({ where: { idempotencyKey: call.key } });
      return rows.map((row) => [row.promptTokens, row.completionTokens, row.adapterVersionId !== null]);
    },
    async close() {
      await world.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function all(chunks: AsyncIterable<GenerateChunk>): Promise<GenerateChunk[]> {
  const found: GenerateChunk[] = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}
