import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { adapterExport, adapterTransfer } from "@grove/contracts/messages";
import { liveTransferStatuses } from "@grove/contracts/transfers";
import type { Services } from "../context.ts";

const WAITING_MS = 20_000; // a message that was sent has arrived by then
const SENDING_MS = 24 * 3600 * 1000; // an upload that nobody went on with
const MOST = 200;

/** Rows whose message or worker was lost go to the queue again; a key that still waits or runs is not doubled. */
export async function sweepTransfers({ db, queues, storage }: Services): Promise<void> {
  const where = { status: { in: [...liveTransferStatuses] }, createdAt: { lt: new Date(Date.now() - WAITING_MS) } };
  const [exports, transfers] = await Promise.all([
    db.adapterExport.findMany({ where, select: { id: true }, orderBy: { id: "asc" }, take: MOST }),
    db.adapterTransfer.findMany({ where, select: { id: true }, orderBy: { id: "asc" }, take: MOST }),
  ]);
  for (const row of exports) await queues.send(adapterExport, { exportId: row.id });
  for (const row of transfers) await queues.send(adapterTransfer, { transferId: row.id });
  const left = await db.adapterTransfer.findMany({
    where: { status: "sending", createdAt: { lt: new Date(Date.now() - SENDING_MS) } },
    select: { id: true },
    take: MOST,
  });
  for (const { id } of left) {
    const { count } = await db.adapterTransfer.deleteMany({ where: { id, status: "sending" } });
    if (count > 0) await storage.deletePrefix(`imports/${id}/`);
  }
}

/** At start-up: scratch that a former worker of this machine left; what still runs elsewhere on it stays. */
export async function removeOldTransferFolders({ db, settings }: Pick<Services, "db" | "settings">): Promise<void> {
  const live = { status: { in: [...liveTransferStatuses] } };
  const find = {
    exports: (ids: string[]) =>
      db.adapterExport.findMany({ where: { id: { in: ids }, ...live }, select: { id: true } }),
    transfers: (ids: string[]) =>
      db.adapterTransfer.findMany({ where: { id: { in: ids }, ...live }, select: { id: true } }),
  };
  for (const [kind, findLive] of Object.entries(find)) {
    const root = join(settings.workFolder, kind);
    const ids = (await readdir(root).catch(() => [])).filter((name) => /^[0-9a-f-]{36}$/.test(name));
    const keep = new Set((await findLive(ids)).map((row) => row.id));
    for (const id of ids) if (!keep.has(id)) await rm(join(root, id), { recursive: true, force: true });
  }
}
