// For tests: the real engine in its own process on a tiny random model, and tiny random adapters for it.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createSocket, type Server as Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { adapterFileNames } from "@grove/contracts/adapters";
import { type JobConfig, jobConfig } from "@grove/contracts/jobs";
import type { ObjectStore } from "@grove/storage";
import type { OrgCtx } from "../context.ts";

const REPO = join(import.meta.dirname, "../../../..");
const PYTHON = process.env.GROVE_PYTHON ?? join(REPO, ".venv/bin/python");
const PYTHONPATH = ["apps/serving", "apps/serving/tests", "packages/lora-py"].map((one) => join(REPO, one)).join(":");
const READY_MS = 60_000;

export const testSecret = "0123456789abcdef0123456789abcdef";
export type TinyAdapter = { folder: string; sha256: string };
export type TinyModels = {
  folder: string;
  base: { id: string; path: string };
  adapters: TinyAdapter[];
  remove: () => Promise<void>;
};

/** A byte-level Llama with a context of 512 bytes, and adapters that each change its answers. */
export async function makeTinyModels(adapters = 2): Promise<TinyModels> {
  const folder = await mkdtemp(join(tmpdir(), "grove-tiny-"));
  const script = [
    "import sys, pathlib",
    "from tiny import write_lora, write_model",
    "root = pathlib.Path(sys.argv[1])",
    "write_model(root / 'base')",
    "for i in range(int(sys.argv[2])): print(write_lora(root / f'lora-{i}', seed=i))",
  ].join("\n");
  const env = { ...process.env, PYTHONPATH };
  const { stdout } = await promisify(execFile)(PYTHON, ["-c", script, folder, String(adapters)], { env });
  const hashes = stdout.trim().split("\n");
  return {
    folder,
    base: { id: "tiny", path: join(folder, "base") },
    adapters: hashes.map((sha256, i) => ({ sha256, folder: join(folder, `lora-${i}`) })),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

export type TestEngine = { url: string; stop: () => Promise<void> };

export async function startEngine(
  models: TinyModels,
  options: { gatewayUrl: string; port?: number },
): Promise<TestEngine> {
  const port = options.port ?? (await freePort());
  const env = {
    ...process.env,
    PYTHONPATH,
    OMP_WAIT_POLICY: "PASSIVE",
    GROVE_INTERNAL_SECRET: testSecret,
    GROVE_GATEWAY_URL: options.gatewayUrl,
    GROVE_SERVING_CACHE: join(models.folder, "cache"),
  };
  const args = [
    "-m",
    "serving",
    "--model",
    models.base.path,
    "--model-id",
    models.base.id,
    "--port",
    String(port),
    "--threads",
    "1",
  ];
  const child = spawn(PYTHON, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log = (log + chunk.toString()).slice(-4_000);
  });
  const url = `http://127.0.0.1:${port}`;
  const until = Date.now() + READY_MS;
  while (!(await answers(url))) {
    if (child.exitCode !== null || Date.now() > until) throw new Error(`The engine did not start:\n${log}`);
    await sleep(100);
  }
  return { url, stop: () => kill(child) };
}

async function answers(url: string): Promise<boolean> {
  return fetch(`${url}/health`).then(
    (response) => response.ok,
    () => false,
  );
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

export async function freePort(): Promise<number> {
  const socket = createSocket();
  await new Promise<void>((resolve) => socket.listen(0, "127.0.0.1", resolve));
  const { port } = addressOf(socket);
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

function addressOf(server: Socket): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server listens nowhere.");
  return address;
}

export type LocalServer = { url: string; close: () => Promise<void> };

export async function listen(server: Server, port = 0): Promise<LocalServer> {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${addressOf(server).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The one thing that serving asks of a gateway once it trusts the caller: an adapter's files by their hash. */
export function adapterFileServer(storage: () => ObjectStore): Server {
  return createServer(async (request, response) => {
    const [, sha256 = "", name = ""] = /^\/internal\/adapters\/([0-9a-f]{64})\/([\w.]+)$/.exec(request.url ?? "") ?? [];
    const body = await storage().get(`adapters/${sha256}/${name}`);
    response.writeHead(body === null ? 404 : 200);
    Readable.from(body ?? []).pipe(response);
  });
}

export const labelConfig: JobConfig = jobConfig.parse({
  baseModel: "tiny",
  promptTemplate: "Text: {text}\nLabel:",
  targetColumn: "label",
  hyperparameters: {},
});

/** The rows and objects that a finished job leaves. */
export async function publishAdapter(
  ctx: OrgCtx,
  made: TinyAdapter,
  about: { repository: string; datasetId: string; config?: JobConfig },
): Promise<string> {
  const config = about.config ?? labelConfig;
  for (const name of adapterFileNames) {
    await ctx.storage.put(`adapters/${made.sha256}/${name}`, createReadStream(join(made.folder, name)), {
      maxBytes: 100_000_000,
    });
  }
  const repository = await ctx.db.repository.create({
    data: { orgId: ctx.orgId, name: about.repository, baseModel: "tiny" },
  });
  const job = await ctx.db.job.create({
    data: {
      orgId: ctx.orgId,
      datasetId: about.datasetId,
      repositoryId: repository.id,
      name: about.repository,
      status: "succeeded",
      config,
    },
  });
  const { size } = await stat(join(made.folder, "adapter_model.safetensors"));
  const version = {
    orgId: ctx.orgId,
    repositoryId: repository.id,
    jobId: job.id,
    version: 1,
    sha256: made.sha256,
    bytes: size,
    config,
    trainLoss: 1,
  };
  await ctx.db.adapterVersion.create({ data: version });
  return `${about.repository}/1`;
}

/** A data set row without rows of its own, for adapters whose training does not matter. */
export async function emptyDataset(ctx: OrgCtx): Promise<string> {
  const data = {
    orgId: ctx.orgId,
    name: "none",
    fileName: "none.jsonl",
    format: "jsonl",
    status: "ready",
    objectKey: "none",
    splitSeed: 1,
  };
  return (await ctx.db.dataset.create({ data, select: { id: true } })).id;
}
