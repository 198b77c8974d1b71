import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { type ReplayPlan, replayPlan } from "@grove/contracts/replay";
import { z } from "zod";
import { Client } from "../client.ts";
import { type Command, type Given, type Io, json, text } from "../command.ts";
import { CliError } from "../failure.ts";

const ROOT = resolve(import.meta.dirname, "../../../..");
const result = z.looseObject({ replay: z.looseObject({ sha256: z.string(), warnings: z.array(z.string()) }) });
const event = z.looseObject({
  event: z.string(),
  step: z.int().optional(),
  total_steps: z.int().optional(),
  message: z.string().optional(),
});
type Replayed = z.infer<typeof result>["replay"];

export const replayCommand: Command = {
  usage: "replay JOB [--base-model FOLDER] [--out FOLDER] [--json]",
  about:
    "Runs a finished job again on this machine, from its manifest and its rows, and compares the adapters: 0 the same to the byte, 1 not.",
  words: 1,
  options: { "base-model": { type: "string" }, out: { type: "string" }, ...json },
  run: replay,
};

async function replay(given: Given, io: Io): Promise<number> {
  const [job = ""] = given.words;
  const client = new Client(io.env);
  const plan = await client.get(`/jobs/${encodeURIComponent(job)}/replay`, replayPlan);
  const python = io.env.GROVE_PYTHON ?? join(ROOT, ".venv/bin/python");
  await needed(python, "There is no Python at", "Run `npm run demo -- --exit` once to set it up, or set GROVE_PYTHON.");
  const base = text(given, "base-model") ?? io.env.GROVE_BASE_MODEL_PATH ?? join(ROOT, ".data/models", plan.baseModel);
  await needed(
    join(base, "config.json"),
    "There is no base model at",
    `Give the folder of ${plan.baseModel}: --base-model FOLDER.`,
  );
  const folder = await mkdtemp(join(tmpdir(), "grove-replay-"));
  const out = resolve(text(given, "out") ?? join(folder, "adapter"));
  try {
    const files = await fetchRun(client, plan, folder);
    io.tell(`${plan.adapterId} of job ${plan.jobId}: training again with ${base}`);
    const done = await train(python, [...files, "--base-model", resolve(base), "--output-dir", out], io);
    return compare(plan, done, given, io);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The trainer's arguments for what was fetched. Rows that are not the run's end it here, in words. */
async function fetchRun(client: Client, plan: ReplayPlan, folder: string): Promise<string[]> {
  const { jobId, manifest, continueFrom } = plan;
  const path = (name: string): string => join(folder, name);
  await writeFile(path("manifest.json"), JSON.stringify(manifest));
  await client.download(`/jobs/${jobId}/replay/train`, async () => path("train.jsonl"));
  const found = await sha256Of(path("train.jsonl"));
  if (found !== manifest.data_sha256)
    throw new CliError(
      `The rows of this job are not those that it trained on: SHA-256 ${found}, and was ${manifest.data_sha256}.`,
      {
        advice:
          "The data set, or the way that Grove renders its template, has changed since. No replay can come to the same adapter.",
      },
    );
  const args = ["--manifest", path("manifest.json"), "--train-file", path("train.jsonl")];
  if (plan.hasValidation) {
    await client.download(`/jobs/${jobId}/replay/validation`, async () => path("validation.jsonl"));
    args.push("--validation-file", path("validation.jsonl"));
  }
  if (continueFrom !== null) {
    await mkdir(path("start"));
    for (const name of ["adapter_config.json", "adapter_model.safetensors"])
      await client.download(`/adapters/${continueFrom}/files/${name}`, async () => join(path("start"), name));
    args.push("--init-adapter", path("start"));
  }
  return args;
}

/** One `python -m trainer replay` to its end; its log goes where ours does. */
async function train(python: string, args: string[], io: Io): Promise<Replayed> {
  const paths = ["apps/trainer", "packages/lora-py"].map((one) => join(ROOT, one));
  const child = spawn(python, ["-m", "trainer", "replay", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...io.env, PYTHONPATH: paths.join(":") },
  });
  const ended = new Promise<number | null>((settle, reject) => {
    child.once("error", reject);
    child.once("close", settle);
  });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (more: string) => {
    log = (log + more).slice(-4_000);
  });
  let last: unknown = null;
  for await (const line of createInterface({ input: child.stdout })) {
    last = parseJson(line);
    const said = event.safeParse(last);
    if (said.success && said.data.event === "step")
      io.tell(`step ${said.data.step ?? "?"} of ${said.data.total_steps ?? "?"}`);
  }
  const status = await ended;
  const done = result.safeParse(last);
  if (done.success) return done.data.replay;
  const failed = event.safeParse(last);
  throw new CliError(
    failed.success && failed.data.message !== undefined
      ? failed.data.message
      : `The trainer ended with status ${status}:\n${log.trim()}`,
  );
}

function compare(plan: ReplayPlan, { sha256, warnings }: Replayed, given: Given, io: Io): number {
  const same = sha256 === plan.sha256;
  for (const warning of warnings) io.tell(`warning: ${warning}`);
  if (given.options.json === true)
    io.out(
      JSON.stringify({ jobId: plan.jobId, adapterId: plan.adapterId, expected: plan.sha256, sha256, same, warnings }),
    );
  else
    io.out(
      `run     ${plan.sha256}\nreplay  ${sha256}\n${same ? "The same adapter, to the byte." : "Another adapter."}`,
    );
  if (!same)
    io.tell(
      "A job that was resumed on another machine, or shared its steps without native kernels, differs in the last bits.",
    );
  return same ? 0 : 1;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

async function needed(path: string, what: string, advice: string): Promise<void> {
  if ((await stat(path).catch(() => null)) === null) throw new CliError(`${what} ${path}.`, { advice });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
