import { z } from "zod";
import { Client } from "../client.ts";
import { type Command, columns, json, text } from "../command.ts";

const job = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  repository: z.string(),
  adapterId: z.string().nullable(),
  createdAt: z.string(),
  dataset: z.looseObject({ name: z.string() }),
  progress: z.looseObject({ step: z.int(), totalSteps: z.int() }).nullable(),
  result: z
    .looseObject({
      trainLoss: z.number(),
      validationLoss: z.number().nullable(),
      seconds: z.number(),
      trainTokens: z.int(),
    })
    .nullable(),
  error: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
});
type Job = z.infer<typeof job>;

export const jobCommands: Record<string, Command> = {
  "jobs list": {
    usage: "jobs list [--limit N] [--json]",
    about: "The newest fine-tuning jobs.",
    words: 0,
    options: { limit: { type: "string" }, ...json },
    async run(given, io) {
      const limit = text(given, "limit") ?? "25";
      const page = await new Client(io.env).get(
        `/jobs?limit=${encodeURIComponent(limit)}`,
        z.looseObject({ items: z.array(job) }),
      );
      if (given.options.json === true) io.out(JSON.stringify(page.items));
      else io.out(page.items.length === 0 ? "No jobs yet." : list(page.items));
      return 0;
    },
  },
  "jobs show": {
    usage: "jobs show JOB [--json]",
    about: "One job: where it stands, and what came of it.",
    words: 1,
    options: json,
    async run({ words: [id = ""], options }, io) {
      const found = await new Client(io.env).get(`/jobs/${encodeURIComponent(id)}`, job);
      io.out(options.json === true ? JSON.stringify(found) : show(found));
      return 0;
    },
  },
};

function list(jobs: Job[]): string {
  const rows = jobs.map((one) => [
    one.id,
    one.status,
    one.adapterId ?? one.repository,
    one.createdAt.slice(0, 16).replace("T", " "),
  ]);
  return columns([["JOB", "STATUS", "ADAPTER", "CREATED"], ...rows]);
}

function show(one: Job): string {
  const { progress, result, error } = one;
  const rows = [
    ["job", one.id],
    ["name", one.name],
    ["status", one.status],
    ["data set", one.dataset.name],
    ["adapter", one.adapterId ?? `${one.repository} (none yet)`],
    ["created", one.createdAt],
    ...(progress === null || result !== null ? [] : [["step", `${progress.step} of ${progress.totalSteps}`]]),
    ...(result === null
      ? []
      : [
          ["training loss", result.trainLoss.toFixed(4)],
          ["validation loss", result.validationLoss?.toFixed(4) ?? "none"],
          ["tokens, seconds", `${result.trainTokens}, ${result.seconds.toFixed(1)}`],
        ]),
    ...(error === null ? [] : [["error", `${error.message} (${error.code})`]]),
  ];
  return columns(rows);
}
