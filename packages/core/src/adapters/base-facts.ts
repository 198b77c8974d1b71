import { open } from "node:fs/promises";
import { join } from "node:path";
import type { CoreSettings } from "../context.ts";

/** `hubId`: what the world calls it; `licence`: as an SPDX-like id of the Hub. Null where nothing tells. */
export type BaseFacts = { id: string; hubId: string | null; licence: string | null };

/** The base that set-up fetches comes as a GGUF without a card. */
const wellKnown: Record<string, Omit<BaseFacts, "id">> = {
  "smollm2-135m-instruct": { hubId: "HuggingFaceTB/SmolLM2-135M-Instruct", licence: "apache-2.0" },
};

const HEAD_BYTES = 8_192;

/** Of the base's own model card, or of its licence file. */
export async function baseFacts(settings: Pick<CoreSettings, "baseModel">, id: string): Promise<BaseFacts> {
  const known = wellKnown[id];
  if (known) return { id, ...known };
  const hubId = /^[\w.-]+\/[\w.-]+$/.test(id) ? id : null;
  if (id !== settings.baseModel.id) return { id, hubId, licence: null };
  return { id, hubId, licence: (await licenceOfCard(settings)) ?? (await licenceOfFile(settings)) };
}

async function licenceOfCard({ baseModel }: Pick<CoreSettings, "baseModel">): Promise<string | null> {
  const card = await readHead(join(baseModel.path, "README.md"));
  const matter = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1] ?? "";
  return /^license:\s*["']?([\w.-]{1,60})["']?\s*$/m.exec(matter)?.[1] ?? null;
}

async function licenceOfFile({ baseModel }: Pick<CoreSettings, "baseModel">): Promise<string | null> {
  for (const name of ["LICENSE", "LICENSE.txt", "LICENSE.md"]) {
    const text = await readHead(join(baseModel.path, name));
    if (/Apache License\s+Version 2\.0/.test(text)) return "apache-2.0";
    if (/^\s*MIT License/.test(text)) return "mit";
    if (text !== "") return "other";
  }
  return null;
}

async function readHead(path: string): Promise<string> {
  const file = await open(path).catch(() => null);
  if (file === null) return "";
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
