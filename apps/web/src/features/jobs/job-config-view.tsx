import type { JobConfig } from "@grove/contracts/jobs";
import { Facts } from "@grove/ui/card";
import { kindNames } from "@/features/datasets/kind-names";
import { duration, plural } from "@/features/shared/format";
import { TemplateText } from "@/features/shared/template-text";

/** What a run was made from; the same on a job and on the adapter that it made. */
export function JobConfigView({ config }: { config: JobConfig }) {
  const h = config.hyperparameters;
  return (
    <div className="divide-y divide-line">
      <div className="px-5 py-4">
        <p className="pb-2 text-[13px] text-muted">Prompt template</p>
        <TemplateText template={config.promptTemplate} />
      </div>
      <div className="grid divide-line md:grid-cols-2 md:divide-x">
        <Facts
          items={[
            { label: "Base model", value: config.baseModel },
            { label: "The rows are", value: kindNames[config.dataKind] },
            {
              label: "Target column",
              value:
                config.rejectedColumn === null
                  ? config.targetColumn
                  : `${config.targetColumn} over ${config.rejectedColumn}`,
            },
            { label: "Prompt format", value: config.promptFormat === "raw" ? "as written" : "chat turn" },
            {
              label: "Rank, alpha",
              value: `${h.rank}, ${h.alpha ?? h.rank * 2}${h.useRslora ? ", rank-stabilized" : ""}${h.useDora ? ", DoRA" : ""}`,
            },
            ...(h.continueFrom === null ? [] : [{ label: "Goes on from", value: h.continueFrom }]),
            { label: "Layers", value: h.targetModules.length === 7 ? "all seven" : h.targetModules.join(", ") },
            { label: "Dropout", value: h.dropout },
          ]}
        />
        <Facts
          items={[
            { label: "Epochs", value: h.epochs },
            {
              label: "Limits",
              value:
                [
                  h.maxSteps === null ? null : `${h.maxSteps} steps`,
                  h.maxSeconds === null ? null : duration(h.maxSeconds),
                  h.stopOnScore === null
                    ? null
                    : `${plural(h.stopOnScore.patience, "checkpoint")} without a better score`,
                ]
                  .filter((item) => item !== null)
                  .join(", ") || "none",
            },
            { label: "Learning rate", value: `${h.learningRate}, ${h.scheduler}` },
            ...(h.method === "sft" ? [] : [{ label: "Method", value: `${h.method.toUpperCase()}, beta ${h.beta}` }]),
            ...(h.quantization === "none" ? [] : [{ label: "Base while training", value: h.quantization }]),
            {
              label: "Optimizer",
              value: h.neftuneAlpha > 0 ? `${h.optimizer}, NEFTune ${h.neftuneAlpha}` : h.optimizer,
            },
            { label: "Batch size", value: h.batchSize },
            { label: "Most tokens a row", value: h.maxLength ?? "95th percentile" },
            { label: "Seed", value: h.seed },
          ]}
        />
      </div>
    </div>
  );
}
