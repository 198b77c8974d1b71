import type { AdapterVersionView } from "@grove/contracts/adapters";
import type { UsageReport } from "@grove/contracts/usage";
import { Stat, StatGrid } from "@grove/ui/card";
import { count, money, points, tokens } from "@/features/shared/format";

export function Figures({ adapters, usage }: { adapters: AdapterVersionView[]; usage: UsageReport }) {
  if (adapters.length === 0) return null;
  const evaluated = adapters.flatMap((adapter) =>
    adapter.bestEval === null ? [] : [adapter.bestEval.adapterScore - adapter.bestEval.baseScore],
  );
  const average = evaluated.reduce((sum, lift) => sum + lift, 0) / Math.max(1, evaluated.length);
  const requests = usage.rows.reduce((sum, row) => sum + (row.kind === "inference" ? row.requests : 0), 0);
  const trained = usage.rows.reduce((sum, row) => sum + row.trainTokens, 0);
  return (
    <StatGrid>
      <Stat label="Adapter versions" value={count(adapters.length)} hint="on one base model" />
      <Stat
        label="Average over base"
        value={evaluated.length === 0 ? "–" : points(average)}
        hint={evaluated.length === 0 ? "none evaluated yet" : `${count(evaluated.length)} evaluated`}
      />
      <Stat label="Requests" value={count(requests)} hint="last 30 days" />
      <Stat label="Trained tokens" value={tokens(trained)} hint="last 30 days" />
      <Stat label="Cost" value={money(usage.totalMicroUsd)} hint="last 30 days" />
    </StatGrid>
  );
}
