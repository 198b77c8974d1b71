import type { JobConfig } from "@grove/contracts/jobs";
import { Facts } from "@grove/ui/card";
import { TemplateText } from "@/features/shared/template-text";

type ImportedConfigProps = { config: JobConfig; baseModel: string | null };

/** What an imported adapter's files tell; of its training nothing is known here. */
export function ImportedConfig({ config, baseModel }: ImportedConfigProps) {
  const { rank, alpha, dropout, useRslora, useDora, targetModules } = config.hyperparameters;
  const kind = [useDora ? "DoRA" : "LoRA", useRslora ? "rank-stabilized" : null].filter((part) => part !== null);
  return (
    <div className="divide-y divide-line">
      <div className="px-5 py-4">
        <p className="pb-2 text-[13px] text-muted">Prompt template</p>
        <TemplateText template={config.promptTemplate} />
      </div>
      <Facts
        items={[
          { label: "Base model here", value: config.baseModel },
          { label: "Its own name for the base", value: baseModel ?? "not told" },
          { label: "Prompt format", value: config.promptFormat === "raw" ? "as written" : "chat turn" },
          { label: "Kind", value: kind.join(", ") },
          { label: "Rank, alpha, dropout", value: `${rank}, ${alpha ?? rank * 2}, ${dropout}` },
          { label: "Layers", value: targetModules.length === 7 ? "all seven" : targetModules.join(", ") },
        ]}
      />
    </div>
  );
}
