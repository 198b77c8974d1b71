import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { adapterFileNames } from "@grove/contracts/adapters";
import { type ErrorCode, errorTable, fail, isErrorCode, ok, type Result } from "@grove/contracts/errors";
import {
  type AdapterDescription,
  type AdapterOrigin,
  adapterDescription,
  liveTransferStatuses,
  pulledAdapter,
  pullRequest,
  pushedAdapter,
  pushRequest,
  type UploadAdapterInput,
  uploadAdapterInput,
} from "@grove/contracts/transfers";
import type { AdapterTransfer, Prisma } from "@grove/db";
import { isDiskFull } from "@grove/storage/file-system";
import { z } from "zod";
import type { CoreSettings, Services } from "../context.ts";
import { importKey } from "./about.ts";
import { importVersion } from "./import-version.ts";
import { lastLine, runPython } from "./python.ts";
import { writeAdapterFolder } from "./run-export.ts";
import { unseal } from "./sealed.ts";
import { versionParts } from "./view.ts";

type Message = { transferId: string; lastAttempt: boolean };
type Running = { services: Services; row: AdapterTransfer; folder: string; signal: AbortSignal };
type Outcome = Result<null, ErrorCode>;

export function transferFolder(settings: Pick<CoreSettings, "workFolder">, transferId: string): string {
  return join(settings.workFolder, "transfers", transferId);
}

/** The worker's half of a push, a pull or an upload. It may run twice: what comes of it is written with the end of the row. */
export async function runTransfer(
  services: Services,
  { transferId, lastAttempt }: Message,
  signal: AbortSignal,
): Promise<Result<null>> {
  const taken = await services.db.adapterTransfer.updateMany({
    where: { id: transferId, status: { in: [...liveTransferStatuses] } },
    data: { status: "running" },
  });
  if (taken.count === 0) return ok(null);
  const row = await services.db.adapterTransfer.findUniqueOrThrow({ where: { id: transferId } });
  const folder = transferFolder(services.settings, transferId);
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const outcome = await acts[kindOf(row)]({ services, row, folder, signal });
    if (signal.aborted || outcome.ok) return ok(null); // where this worker goes away, the next one's sweep sends it again
    if (errorTable[outcome.code].retry && !lastAttempt) return outcome;
    await endFailed(services, row, outcome.message);
    return ok(null);
  } catch (error) {
    if (signal.aborted) return ok(null);
    if (!lastAttempt && !isDiskFull(error)) throw error;
    await endFailed(services, row, isDiskFull(error) ? "The worker's disk is full." : String(error));
    return ok(null);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const kindOf = (row: AdapterTransfer): keyof typeof acts => z.enum(["push", "pull", "upload"]).parse(row.kind);
const acts = { push, pull, upload };

async function push({ services, row, folder, signal }: Running): Promise<Outcome> {
  const { hubRepo, private: isPrivate } = pushRequest.parse(row.request);
  const version = await services.db.adapterVersion.findFirst({
    where: { transfers: { some: { id: row.id } } },
    include: versionParts,
  });
  if (version === null || !(await writeAdapterFolder(services, version, join(folder, "adapter"))))
    return fail("adapter_not_found", "The adapter's files are no longer in the object store.");
  const message = `${version.repository.name}/${version.version} from Grove`;
  const said = await askHub(
    { services, row, folder, signal },
    "push",
    { repo: hubRepo, private: isPrivate, message },
    pushedAdapter,
  );
  return said.ok ? endReady(services, row, { result: said.value }) : said;
}

async function pull({ services, row, folder, signal }: Running): Promise<Outcome> {
  const request = pullRequest.parse(row.request);
  const { hubRepo: repo, revision } = request;
  const said = await askHub(
    { services, row, folder, signal },
    "pull",
    { repo, revision, base: services.settings.baseModel.path, max_bytes: services.settings.maxUploadBytes },
    pulledAdapter,
  );
  if (!said.ok) return said;
  const { commit, ...about } = said.value;
  const endpoint = services.settings.hubEndpoint ?? "";
  const origin: AdapterOrigin = { kind: "hub", endpoint, repo, revision, commit, baseModel: about.base_model };
  return keep({ services, row, folder, signal }, request, about, origin);
}

async function upload({ services, row, folder, signal }: Running): Promise<Outcome> {
  const request = uploadAdapterInput.parse(row.request);
  const adapter = join(folder, "adapter");
  await mkdir(adapter);
  for (const name of adapterFileNames) {
    const stream = await services.storage.get(importKey(row.id, name));
    if (stream !== null) await pipeline(stream, createWriteStream(join(adapter, name)));
  }
  const args = ["lora_py.describe", "--adapter", adapter, "--base", services.settings.baseModel.path];
  const said = await runPython(services.settings.python, args, { signal });
  const about = readAnswer(said.stdout, adapterDescription);
  if (!about.ok) return fail(about.code, about.message || lastLine(said.stderr));
  return keep({ services, row, folder, signal }, request, about.value, {
    kind: "upload",
    baseModel: about.value.base_model,
  });
}

/** The files under their hash and the card beside them, then version and status in one transaction. */
async function keep(
  { services, row, folder }: Running,
  request: UploadAdapterInput,
  about: AdapterDescription,
  origin: AdapterOrigin,
): Promise<Outcome> {
  const adapter = join(folder, "adapter");
  for (const name of ["README.md", "grove.json"] as const) {
    if ((await stat(join(adapter, name)).catch(() => null)) === null) continue;
    const stored = await services.storage.put(importKey(row.id, name), createReadStream(join(adapter, name)));
    if (!stored.ok) return fail("storage_full", stored.message);
  }
  const made = await importVersion(services, row, { adapter, request, about, origin });
  if (made.ok) for (const name of adapterFileNames.slice(0, 2)) await services.storage.delete(importKey(row.id, name));
  return made;
}

/** `python -m lora_py.hub`: what it needs, the token among it, goes in as one JSON line, and its answer comes as one. */
async function askHub<S extends z.ZodType>(
  { services, row, folder, signal }: Running,
  act: "push" | "pull",
  request: Record<string, unknown>,
  answer: S,
): Promise<Result<z.infer<S>, ErrorCode>> {
  const { hubEndpoint, python } = services.settings;
  if (hubEndpoint === null) return fail("hub_disabled", "This worker reaches no hub: GROVE_HUB_ENDPOINT is not set.");
  const token = row.sealedToken === null ? null : unseal(services.settings, row.id, row.sealedToken);
  const stdin = JSON.stringify({ endpoint: hubEndpoint, token, folder: join(folder, "adapter"), ...request });
  const env = { HF_HOME: join(folder, "hub") }; // nothing of the machine's own hub settings, and no cache that others see
  const said = await runPython(python, ["lora_py.hub", act], { stdin, env, signal });
  const read = readAnswer(said.stdout, answer);
  return read.ok ? read : fail(read.code, read.message || lastLine(said.stderr));
}

const refusal = z.strictObject({ error: z.strictObject({ code: z.string(), message: z.string() }) });

function readAnswer<S extends z.ZodType>(stdout: string, answer: S): Result<z.infer<S>, ErrorCode> {
  const line = parseJson(lastLine(stdout));
  const good = answer.safeParse(line);
  if (good.success) return ok(good.data);
  const bad = refusal.safeParse(line);
  if (!bad.success) return fail("internal", "");
  const { code, message } = bad.data.error;
  return fail(isErrorCode(code) ? code : "adapter_invalid", message);
}

async function endReady(
  services: Services,
  row: AdapterTransfer,
  data: { result: Prisma.InputJsonObject },
): Promise<Outcome> {
  await services.db.adapterTransfer.updateMany({
    where: { id: row.id, status: "running" },
    data: { status: "ready", ...data, message: null, sealedToken: null, finishedAt: new Date() },
  });
  return ok(null);
}

async function endFailed(services: Services, row: AdapterTransfer, message: string): Promise<void> {
  const { count } = await services.db.adapterTransfer.updateMany({
    where: { id: row.id, status: "running" },
    data: { status: "failed", message, sealedToken: null, finishedAt: new Date() },
  });
  if (count > 0) await services.storage.deletePrefix(`imports/${row.id}/`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
