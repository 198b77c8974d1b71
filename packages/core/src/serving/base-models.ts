import { open, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { BaseModelView } from "@grove/contracts/serving";
import { z } from "zod";
import type { OrgCtx, Services } from "../context.ts";

/** The base models that this installation serves and trains: one, in this version. */
export async function listBaseModels(services: Services): Promise<BaseModelView[]> {
  const { id, path } = services.settings.baseModel;
  const config = z.looseObject({ max_position_embeddings: z.int() }).parse(await readJson(join(path, "config.json")));
  return [
    {
      id,
      name: basename(id),
      contextLength: config.max_position_embeddings,
      parameters: await parametersOf(path),
      chatTemplate: await hasChatTemplate(path),
    },
  ];
}

export type ServedModel = { id: string; createdAt: Date; adapter: boolean };

/** Everything a prompt may name: the base, then the organisation's adapters, newest first. */
export async function listServedModels(ctx: OrgCtx): Promise<ServedModel[]> {
  const { id, path } = ctx.settings.baseModel;
  const made = await stat(join(path, "config.json"));
  const versions = await ctx.db.adapterVersion.findMany({
    where: { orgId: ctx.orgId, repository: { baseModel: id } },
    select: { version: true, createdAt: true, repository: { select: { name: true } } },
    orderBy: { createdAt: "desc" },
  });
  const adapters = versions.map((one) => ({
    id: `${one.repository.name}/${one.version}`,
    createdAt: one.createdAt,
    adapter: true,
  }));
  return [{ id, createdAt: made.mtime, adapter: false }, ...adapters];
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, "utf8"));
}

async function hasChatTemplate(path: string): Promise<boolean> {
  const file = await stat(join(path, "chat_template.jinja")).catch(() => null);
  if (file) return true;
  const config = await readJson(join(path, "tokenizer_config.json")).catch(() => null);
  return z.looseObject({ chat_template: z.unknown() }).safeParse(config).data?.chat_template !== undefined;
}

const indexFile = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const header = z.record(z.string(), z.looseObject({ shape: z.array(z.int()).optional() }));

/** "135M", counted from the headers of the weight files. */
async function parametersOf(path: string): Promise<string> {
  const index = indexFile.safeParse(await readJson(join(path, "model.safetensors.index.json")).catch(() => null));
  const files = index.success ? [...new Set(Object.values(index.data.weight_map))] : ["model.safetensors"];
  const counts = await Promise.all(files.map((file) => countWeights(join(path, basename(file)))));
  const total = counts.reduce((sum, count) => sum + count, 0);
  return total >= 1e9
    ? `${(total / 1e9).toFixed(1)}B`
    : total >= 1e6
      ? `${Math.round(total / 1e6)}M`
      : `${Math.ceil(total / 1e3)}K`;
}

async function countWeights(file: string): Promise<number> {
  const handle = await open(file);
  try {
    const size = Buffer.alloc(8);
    await handle.read(size, 0, 8, 0);
    const bytes = Buffer.alloc(Number(size.readBigUInt64LE()));
    await handle.read(bytes, 0, bytes.length, 8);
    const tensors = Object.values(header.parse(JSON.parse(bytes.toString("utf8"))));
    return tensors.reduce(
      (sum, { shape }) => sum + (shape ? shape.reduce((product, side) => product * side, 1) : 0),
      0,
    );
  } finally {
    await handle.close();
  }
}
