import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { adapterFileNames } from "@grove/contracts/adapters";
import { adapterId as adapterIdSchema } from "@grove/contracts/names";
import { type DownloadFormat, downloadFormats, transferStatuses } from "@grove/contracts/transfers";
import { z } from "zod";
import { Client } from "../client.ts";
import { type Command, columns, type Given, type Io, json, text } from "../command.ts";
import { CliError } from "../failure.ts";

const POLL_MS = 1_000;
const adapter = z.looseObject({ adapterId: z.string(), sha256: z.string(), bytes: z.number(), baseModel: z.string() });
const state = { status: z.enum(transferStatuses), message: z.string().nullable() };
const made = z.looseObject({ kind: z.string(), ...state });
const transfer = z.looseObject({
  id: z.string(),
  adapterId: z.string().nullable(),
  result: z.looseObject({ url: z.string(), commit: z.string() }).nullable(),
  ...state,
});

export const adapterCommands: Record<string, Command> = {
  "adapters list": {
    usage: "adapters list [--json]",
    about: "Every version of every adapter.",
    words: 0,
    options: json,
    async run({ options }, io) {
      const { items } = await new Client(io.env).get("/adapters", z.looseObject({ items: z.array(adapter) }));
      const rows = items.map((one) => [one.adapterId, one.baseModel, String(one.bytes), one.sha256]);
      if (options.json === true) io.out(JSON.stringify(items));
      else
        io.out(items.length === 0 ? "No adapters yet." : columns([["ADAPTER", "BASE", "BYTES", "SHA-256"], ...rows]));
      return 0;
    },
  },
  "adapters download": {
    usage: `adapters download REPOSITORY/VERSION [--format ${downloadFormats.join("|")}] --out PATH [--json]`,
    about:
      "A version as a PEFT folder (zip), a GGUF LoRA file or a merged model (zip). PATH is a file, or a folder for it.",
    words: 1,
    options: { format: { type: "string" }, out: { type: "string" }, ...json },
    run: download,
  },
  "adapters upload": {
    usage: "adapters upload FOLDER REPOSITORY [--template TEXT] [--json]",
    about: "A PEFT folder of yours as a new version of a repository.",
    words: 2,
    options: { template: { type: "string" }, ...json },
    run: upload,
  },
  "adapters push": {
    usage: "adapters push REPOSITORY/VERSION OWNER/NAME [--public] [--json]",
    about: "A version to a repository of the hub that Grove is set up with. HF_TOKEN is your token there.",
    words: 2,
    options: { public: { type: "boolean" }, ...json },
    async run(given, io) {
      const [id = "", hubRepo = ""] = given.words;
      const client = new Client(io.env);
      const token = io.env.HF_TOKEN;
      if (!token)
        throw new CliError("HF_TOKEN is not set.", {
          advice: "Set it to a token that may write to the hub.",
          usage: true,
        });
      const asked = { adapterId: id, hubRepo, private: given.options.public !== true, token };
      const done = await follow(client, await client.ask("/transfers/push", transfer, { json: asked }), io);
      io.out(
        given.options.json === true
          ? JSON.stringify(done)
          : `${done.result?.url ?? hubRepo} is at ${done.result?.commit ?? "?"}`,
      );
      return 0;
    },
  },
  "adapters pull": {
    usage: "adapters pull OWNER/NAME REPOSITORY [--revision REVISION] [--template TEXT] [--json]",
    about: "A repository of that hub as a new version. HF_TOKEN is your token there, where it needs one.",
    words: 2,
    options: { revision: { type: "string" }, template: { type: "string" }, ...json },
    async run(given, io) {
      const [hubRepo = "", repository = ""] = given.words;
      const client = new Client(io.env);
      const [revision, promptTemplate] = [text(given, "revision") ?? undefined, text(given, "template") ?? undefined];
      const asked = { hubRepo, repository, revision, promptTemplate, token: io.env.HF_TOKEN || undefined };
      return tellImport(
        await follow(client, await client.ask("/transfers/pull", transfer, { json: asked }), io),
        given,
        io,
      );
    },
  },
};

async function download(given: Given, io: Io): Promise<number> {
  const [id = ""] = given.words;
  if (!adapterIdSchema.safeParse(id).success)
    throw new CliError(
      `${JSON.stringify(id)} is not an adapter id: write repository/version, for example support-intents/1.`,
      { usage: true },
    );
  const asked = text(given, "format") ?? "peft";
  const format = downloadFormats.find((one) => one === asked);
  if (format === undefined)
    throw new CliError(`The format is one of ${downloadFormats.join(", ")}, not ${JSON.stringify(asked)}.`, {
      usage: true,
    });
  const out = text(given, "out");
  if (out === null) throw new CliError("Say where it goes: --out PATH.", { usage: true });
  const client = new Client(io.env);
  if (format !== "peft") await waitForExport(client, id, format, io);
  const target = async (name: string): Promise<string> =>
    (await stat(out).catch(() => null))?.isDirectory() === true ? join(out, name) : out;
  const { file, bytes } = await client.download(`/adapters/${id}/download?format=${format}`, target);
  io.out(
    given.options.json === true ? JSON.stringify({ adapterId: id, format, file, bytes }) : `${file} (${bytes} bytes)`,
  );
  return 0;
}

/** Asks for it and waits until a worker has made it. */
async function waitForExport(client: Client, id: string, kind: DownloadFormat, io: Io): Promise<void> {
  let found = await client.ask(`/adapters/${id}/exports`, made, { json: { kind } });
  if (found.status === "waiting" || found.status === "running") io.tell(`A worker is making the ${kind} form…`);
  while (found.status === "waiting" || found.status === "running") {
    await sleep(POLL_MS);
    const { items } = await client.get(`/adapters/${id}/exports`, z.looseObject({ items: z.array(made) }));
    const now = items.find((one) => one.kind === kind);
    if (now === undefined) throw new CliError("Somebody deleted it while it was made.");
    found = now;
  }
  if (found.status === "failed")
    throw new CliError(`The ${kind} form could not be made: ${found.message ?? "no reason given"}`);
}

async function upload(given: Given, io: Io): Promise<number> {
  const [folder = "", repository = ""] = given.words;
  for (const name of adapterFileNames.slice(0, 2))
    if ((await stat(join(folder, name)).catch(() => null)) === null)
      throw new CliError(`${folder} is not a PEFT folder: it has no ${name}.`, { usage: true });
  const client = new Client(io.env);
  const promptTemplate = text(given, "template") ?? undefined;
  const begun = await client.ask("/transfers/upload", transfer, { json: { repository, promptTemplate } });
  for (const name of adapterFileNames) {
    const path = join(folder, name);
    if ((await stat(path).catch(() => null)) === null) continue;
    io.tell(`sending ${basename(path)}`);
    const file = { method: "PUT" as const, body: createReadStream(path) };
    await client.ask(`/transfers/upload/${begun.id}/${name}`, z.looseObject({ bytes: z.number() }), file);
  }
  const sent = await client.ask(`/transfers/upload/${begun.id}/finish`, transfer, { method: "POST" });
  return tellImport(await follow(client, sent, io), given, io);
}

function tellImport(done: z.infer<typeof transfer>, given: Given, io: Io): number {
  io.out(given.options.json === true ? JSON.stringify(done) : `${done.adapterId ?? "It"} is ready to be asked.`);
  return 0;
}

async function follow(client: Client, begun: z.infer<typeof transfer>, io: Io): Promise<z.infer<typeof transfer>> {
  let now = begun;
  if (now.status !== "ready") io.tell("A worker is on it…");
  while (now.status === "waiting" || now.status === "running") {
    await sleep(POLL_MS);
    now = await client.get(`/transfers/${now.id}`, transfer);
  }
  if (now.status === "failed") throw new CliError(now.message ?? "It failed, and no reason was given.");
  return now;
}
