import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { adapterTransfer } from "@grove/contracts/messages";
import type { Page, PageInput } from "@grove/contracts/pages";
import {
  type HubView,
  type PullInput,
  type PushInput,
  pullRequest,
  pushedAdapter,
  pushRequest,
  type TransferKind,
  type TransferView,
  transferKinds,
  transferStatuses,
  type UploadAdapterInput,
} from "@grove/contracts/transfers";
import { isUniqueViolation, type Prisma } from "@grove/db";
import type { PutFailure } from "@grove/storage";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";
import { uuid7 } from "../ids.ts";
import { toPage } from "../pages.ts";
import { importKey } from "./about.ts";
import { findVersion } from "./read.ts";
import { seal } from "./sealed.ts";

const transferParts = {
  version: { select: { version: true, repository: { select: { name: true } } } },
} satisfies Prisma.AdapterTransferInclude;
type TransferRow = Prisma.AdapterTransferGetPayload<{ include: typeof transferParts }>;
const SMALL_FILE_BYTES = 1 << 20;

export function getHub({ settings }: Pick<Services, "settings">): HubView {
  return { endpoint: settings.hubEndpoint };
}

/** To the hub that this installation names: the PEFT folder with its card, in one commit. */
export async function pushAdapter(
  ctx: OrgCtx,
  input: PushInput,
): Promise<Result<TransferView, "hub_disabled" | "adapter_not_found" | "idempotency_conflict">> {
  if (ctx.settings.hubEndpoint === null) return hubDisabled();
  const version = await findVersion(ctx, input.adapterId);
  if (!version.ok) return fail(version.code, version.message, { field: "adapterId" });
  const { token, idempotencyKey, ...request } = input;
  return begin(ctx, { kind: "push", request, token, idempotencyKey, versionId: version.value.id });
}

/** From that hub: checked by a worker, then a new version of the repository. */
export async function pullAdapter(
  ctx: OrgCtx,
  input: PullInput,
): Promise<Result<TransferView, "hub_disabled" | "base_model_not_found" | "idempotency_conflict">> {
  if (ctx.settings.hubEndpoint === null) return hubDisabled();
  const fits = await checkRepository(ctx, input.repository);
  if (!fits.ok) return fits;
  const { token, idempotencyKey, ...request } = input;
  return begin(ctx, { kind: "pull", request, token, idempotencyKey, versionId: null });
}

/** A PEFT folder of the user's own: then its files, one by one, then `finishUpload`. */
export async function beginUpload(
  ctx: OrgCtx,
  input: UploadAdapterInput,
): Promise<Result<TransferView, "base_model_not_found">> {
  const fits = await checkRepository(ctx, input.repository);
  if (!fits.ok) return fits;
  const data = { orgId: ctx.orgId, kind: "upload", status: "sending", request: input };
  return ok(toTransferView(await ctx.db.adapterTransfer.create({ data, include: transferParts })));
}

export async function putUploadFile(
  ctx: OrgCtx,
  { id, name }: { id: string; name: AdapterFileName },
  body: AsyncIterable<Uint8Array>,
): Promise<Result<{ name: AdapterFileName; bytes: number }, "transfer_not_found" | "transfer_not_open" | PutFailure>> {
  const open = await findSending(ctx, id);
  if (!open.ok) return open;
  const maxBytes = name === "adapter_model.safetensors" ? ctx.settings.maxUploadBytes : SMALL_FILE_BYTES;
  const stored = await ctx.storage.put(importKey(id, name), body, { maxBytes });
  return stored.ok ? ok({ name, bytes: stored.value.bytes }) : stored;
}

/** Everything has been sent: a worker looks at it. */
export async function finishUpload(
  ctx: OrgCtx,
  id: string,
): Promise<Result<TransferView, "transfer_not_found" | "transfer_not_open" | "adapter_invalid">> {
  const open = await findSending(ctx, id);
  if (!open.ok) return open;
  for (const name of adapterFileNames.slice(0, 2))
    if ((await ctx.storage.head(importKey(id, name))) === null)
      return fail(
        "adapter_invalid",
        `A PEFT folder has ${name}, and it has not been sent. Pickled weights (.bin, .pt) are never loaded.`,
      );
  await ctx.db.adapterTransfer.updateMany({ where: { id, status: "sending" }, data: { status: "waiting" } });
  await ctx.queues.send(adapterTransfer, { transferId: id });
  return getTransfer(ctx, id);
}

export async function getTransfer(ctx: OrgCtx, id: string): Promise<Result<TransferView, "transfer_not_found">> {
  const row = await ctx.db.adapterTransfer.findFirst({ where: { id, orgId: ctx.orgId }, include: transferParts });
  return row === null ? notFound() : ok(toTransferView(row));
}

/** Newest first; of one adapter, where it is named. */
export async function listTransfers(
  ctx: OrgCtx,
  { adapterId, ...page }: PageInput & { adapterId?: string | undefined },
): Promise<Result<Page<TransferView>, "adapter_not_found">> {
  const version = adapterId === undefined ? null : await findVersion(ctx, adapterId);
  if (version?.ok === false) return version;
  const rows = await ctx.db.adapterTransfer.findMany({
    where: {
      orgId: ctx.orgId,
      status: { not: "sending" },
      ...(version === null ? {} : { versionId: version.value.id }),
      ...(page.cursor ? { id: { lt: page.cursor } } : {}),
    },
    include: transferParts,
    orderBy: { id: "desc" },
    take: page.limit + 1,
  });
  return ok(toPage(rows, page.limit, toTransferView));
}

type Beginning = {
  kind: TransferKind;
  request: Prisma.InputJsonObject;
  token: string | undefined;
  idempotencyKey: string | undefined;
  versionId: string | null;
};

/** The row, then the message. The token is sealed for this row alone. */
async function begin(ctx: OrgCtx, made: Beginning): Promise<Result<TransferView, "idempotency_conflict">> {
  const id = uuid7();
  const { kind, request, versionId, idempotencyKey = null } = made;
  const sealedToken = made.token === undefined ? null : seal(ctx.settings, id, made.token);
  const data = { id, orgId: ctx.orgId, kind, status: "waiting", request, versionId, idempotencyKey, sealedToken };
  try {
    const row = await ctx.db.adapterTransfer.create({ data, include: transferParts });
    await ctx.queues.send(adapterTransfer, { transferId: id });
    return ok(toTransferView(row));
  } catch (error) {
    if (idempotencyKey === null || !isUniqueViolation(error)) throw error;
    const where = { orgId_idempotencyKey: { orgId: ctx.orgId, idempotencyKey } };
    const before = await ctx.db.adapterTransfer.findUniqueOrThrow({ where, include: transferParts });
    return before.kind === kind && isSame(before.request, request)
      ? ok(toTransferView(before))
      : fail("idempotency_conflict", "The idempotency key was used before, for another transfer.", {
          field: "idempotencyKey",
        });
  }
}

/** Objects of the same schema with plain values; the database gives the keys in an order of its own. */
function isSame(a: Prisma.JsonValue, b: Prisma.InputJsonObject): boolean {
  const text = (value: object): string =>
    JSON.stringify(Object.entries(value).toSorted(([x], [y]) => (x < y ? -1 : 1)));
  return typeof a === "object" && a !== null && text(a) === text(b);
}

/** A repository that is there already must be of the base that we can check against. */
async function checkRepository(ctx: OrgCtx, name: string): Promise<Result<null, "base_model_not_found">> {
  const there = await ctx.db.repository.findUnique({ where: { orgId_name: { orgId: ctx.orgId, name } } });
  const { id } = ctx.settings.baseModel;
  if (there === null || there.baseModel === id) return ok(null);
  return fail(
    "base_model_not_found",
    `"${name}" holds adapters of ${there.baseModel}, and this installation has ${id}.`,
    {
      field: "repository",
    },
  );
}

async function findSending(ctx: OrgCtx, id: string): Promise<Result<null, "transfer_not_found" | "transfer_not_open">> {
  const row = await ctx.db.adapterTransfer.findFirst({
    where: { id, orgId: ctx.orgId, kind: "upload" },
    select: { status: true },
  });
  if (row === null) return notFound();
  return row.status === "sending"
    ? ok(null)
    : fail("transfer_not_open", "Its files have been sent already. Begin another upload for other files.");
}

function toTransferView(row: TransferRow): TransferView {
  const kind = z.enum(transferKinds).parse(row.kind);
  const hub =
    kind === "push"
      ? { ...pushRequest.parse(row.request), revision: null }
      : kind === "pull"
        ? pullRequest.parse(row.request)
        : { hubRepo: null, revision: null };
  return {
    id: row.id,
    kind,
    status: z.enum(transferStatuses).parse(row.status),
    adapterId: row.version === null ? null : `${row.version.repository.name}/${row.version.version}`,
    hubRepo: hub.hubRepo,
    revision: hub.revision,
    result: row.result === null || kind !== "push" ? null : pushedAdapter.parse(row.result),
    message: row.message,
    createdAt: row.createdAt,
    finishedAt: row.finishedAt,
  };
}

function notFound(): Result<never, "transfer_not_found"> {
  return fail("transfer_not_found", "There is no such transfer in this organisation.");
}

function hubDisabled(): Result<never, "hub_disabled"> {
  return fail(
    "hub_disabled",
    "This installation reaches no hub. Set GROVE_HUB_ENDPOINT, for example to https://huggingface.co, and start it again.",
  );
}
