import { z } from "zod";
import { promptFormats, promptTemplate } from "./datasets.ts";
import { adapterId, slug } from "./names.ts";

/** What an adapter version is downloaded as; the PEFT folder is there at once, the others are made by a worker. */
export const downloadFormats = ["peft", "gguf", "merged"] as const;
export type DownloadFormat = (typeof downloadFormats)[number];
export const exportKinds = ["gguf", "merged"] as const;
export type ExportKind = (typeof exportKinds)[number];

/** `sending`: an upload whose files are still to come. */
export const transferStatuses = ["sending", "waiting", "running", "ready", "failed"] as const;
export type TransferStatus = (typeof transferStatuses)[number];
export const liveTransferStatuses: readonly TransferStatus[] = ["waiting", "running"];

export const exportInput = z.strictObject({ adapterId, kind: z.enum(exportKinds) });
export type ExportInput = z.infer<typeof exportInput>;
export type ExportView = {
  adapterId: string;
  kind: ExportKind;
  status: TransferStatus;
  fileName: string;
  bytes: number | null; // once ready
  message: string | null; // why it failed
  createdAt: Date;
  finishedAt: Date | null;
};

/** `owner/name` on a hub of Hugging Face's kind. */
export const hubRepo = z
  .string()
  .max(96)
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\/[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/,
    "A hub repository is owner/name, for example acme/support-intents.",
  )
  .refine((text) => !text.includes("--") && !text.includes(".."), "A hub repository has no -- and no .. in it.");
/** A branch, a tag or a commit. */
export const hubRevision = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$/, "A revision is a branch, a tag or a commit.")
  .refine((text) => !text.includes(".."), "A revision has no .. in it.");
/** Goes to the hub and is kept, sealed, until the transfer has ended. */
export const hubToken = z
  .string()
  .max(500)
  .regex(/^[\x21-\x7e]+$/, "A token has no spaces in it.");
const idempotencyKey = z.string().min(1).max(255).optional();

export const pushInput = z.strictObject({
  adapterId,
  hubRepo,
  private: z.boolean().default(true), // of a repository that the push makes
  token: hubToken,
  idempotencyKey,
});
export type PushInput = z.infer<typeof pushInput>;

/** How an adapter from elsewhere is asked; absent: as its grove.json says, or the prompt as it is. */
const asking = { promptTemplate: promptTemplate.optional(), promptFormat: z.enum(promptFormats).optional() };
export const pullInput = z.strictObject({
  hubRepo,
  revision: hubRevision.default("main"),
  repository: slug, // made if it does not exist
  ...asking,
  token: hubToken.optional(), // absent: a public repository
  idempotencyKey,
});
export type PullInput = z.infer<typeof pullInput>;
export const uploadAdapterInput = z.strictObject({ repository: slug, ...asking });
export type UploadAdapterInput = z.infer<typeof uploadAdapterInput>;

export const pushRequest = pushInput.omit({ token: true, idempotencyKey: true });
export const pullRequest = pullInput.omit({ token: true, idempotencyKey: true });
export const transferKinds = ["push", "pull", "upload"] as const;
export type TransferKind = (typeof transferKinds)[number];

/** Where a version that no job made came from. */
export const adapterOrigin = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("hub"),
    endpoint: z.string(),
    repo: z.string(),
    revision: z.string(),
    commit: z.string(),
    baseModel: z.string().nullable(), // what its own configuration calls its base
  }),
  z.strictObject({ kind: z.literal("upload"), baseModel: z.string().nullable() }),
]);
export type AdapterOrigin = z.infer<typeof adapterOrigin>;

/** What `python -m lora_py.describe` and `lora_py.hub` say about a folder that may be served. */
export const adapterDescription = z.strictObject({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int(),
  rank: z.int(),
  alpha: z.number(),
  dropout: z.number(),
  use_rslora: z.boolean(),
  target_modules: z.array(z.string()),
  prompt_format: z.enum(promptFormats),
  base_model: z.string().nullable(),
  prompt_template: z.string().nullable(),
});
export type AdapterDescription = z.infer<typeof adapterDescription>;
export const pulledAdapter = adapterDescription.extend({ commit: z.string() });
export const pushedAdapter = z.strictObject({ commit: z.string(), url: z.string() });
export type PushedAdapter = z.infer<typeof pushedAdapter>;

export type TransferView = {
  id: string;
  kind: TransferKind;
  status: TransferStatus;
  adapterId: string | null; // what is pushed; of the others, what came of it
  hubRepo: string | null;
  revision: string | null;
  result: PushedAdapter | null; // of a push
  message: string | null;
  createdAt: Date;
  finishedAt: Date | null;
};
/** Whether this installation may reach a hub at all, and which. */
export type HubView = { endpoint: string | null };
