import { type ErrorCode, fail, ok, type Result } from "@grove/contracts/errors";
import { jobConfig } from "@grove/contracts/jobs";
import type { AdapterDescription, AdapterOrigin, UploadAdapterInput } from "@grove/contracts/transfers";
import type { AdapterTransfer } from "@grove/db";
import type { Services } from "../context.ts";
import { hashedFileNames, storeAdapterFiles } from "./files.ts";

type Import = {
  adapter: string; // its folder
  request: UploadAdapterInput;
  about: AdapterDescription;
  origin: AdapterOrigin;
};
const AS_IT_IS = "{prompt}";

/** A version like a finished job's, servable at once. The row of the transfer ends in the same transaction, so it is made once. */
export async function importVersion(
  services: Services,
  row: AdapterTransfer,
  made: Import,
): Promise<Result<null, ErrorCode>> {
  const config = configOf(services.settings.baseModel.id, made);
  if (!config.ok) return config;
  // the two that are hashed: what a hash names is shared, and a card or a template of another organisation must not get there
  const stored = await storeAdapterFiles(services, made.about.sha256, made.adapter, hashedFileNames);
  if (!stored.ok) return stored;
  const { orgId } = row;
  const { repository: name } = made.request;
  const { id: baseModel } = services.settings.baseModel;
  return services.db.$transaction(async (tx) => {
    await tx.repository.createMany({ data: [{ orgId, name, baseModel }], skipDuplicates: true });
    const repository = await tx.repository.findUniqueOrThrow({ where: { orgId_name: { orgId, name } } });
    const repositoryId = repository.id;
    await tx.$queryRaw`SELECT id FROM repositories WHERE id = ${repositoryId}::uuid FOR UPDATE`; // one version number at a time
    const { count } = await tx.adapterTransfer.updateMany({
      where: { id: row.id, status: "running" },
      data: { status: "ready", message: null, sealedToken: null, finishedAt: new Date() },
    });
    if (count === 0) return ok(null); // another worker was first
    const { _max } = await tx.adapterVersion.aggregate({ where: { repositoryId }, _max: { version: true } });
    const { sha256, bytes } = made.about;
    const version = await tx.adapterVersion.create({
      data: {
        orgId,
        repositoryId,
        version: (_max.version ?? 0) + 1,
        sha256,
        bytes,
        config: config.value,
        origin: made.origin,
      },
    });
    await tx.adapterTransfer.update({ where: { id: row.id }, data: { versionId: version.id } });
    return ok(null);
  });
}

/** What its files tell; of its training we know nothing, and the page says so. */
function configOf(
  baseModel: string,
  { request, about }: Import,
): Result<ReturnType<typeof jobConfig.parse>, "adapter_invalid"> {
  const parsed = jobConfig.safeParse({
    baseModel,
    promptTemplate: request.promptTemplate ?? about.prompt_template ?? AS_IT_IS,
    targetColumn: "completion",
    promptFormat: request.promptFormat ?? about.prompt_format,
    hyperparameters: {
      rank: about.rank,
      alpha: about.alpha,
      dropout: about.dropout,
      useRslora: about.use_rslora,
      targetModules: about.target_modules,
    },
  });
  if (parsed.success) return ok(parsed.data);
  const issue = parsed.error.issues[0];
  return fail(
    "adapter_invalid",
    `It cannot be taken: ${issue?.path.at(-1)?.toString() ?? "configuration"}: ${issue?.message}`,
  );
}
