import type { AdapterVersionView } from "@grove/contracts/adapters";
import { Card, CardHeader } from "@grove/ui/card";
import { ScoreBar } from "@grove/ui/progress";
import Link from "next/link";
import { Lift } from "@/features/adapters/lift";
import { percent } from "@/features/shared/format";

const most = 6;

/** The evaluated adapters, largest gain over the base first. */
export function AdapterScores({ adapters }: { adapters: AdapterVersionView[] }) {
  const evaluated = adapters.flatMap((adapter) =>
    adapter.bestEval === null ? [] : [{ adapter, result: adapter.bestEval }],
  );
  if (evaluated.length === 0) return null;
  const ranked = evaluated
    .sort((a, b) => b.result.adapterScore - b.result.baseScore - (a.result.adapterScore - a.result.baseScore))
    .slice(0, most);
  return (
    <Card>
      <CardHeader title="Adapters against their base" hint="Newest evaluation of each, largest gain first">
        <Link href="/adapters" className="text-link text-[13px]">
          All adapters
        </Link>
      </CardHeader>
      <ul className="divide-y divide-line">
        {ranked.map(({ adapter, result }) => (
          <li
            key={adapter.id}
            className="relative grid grid-cols-[1fr_5rem] items-center gap-x-6 gap-y-2 px-5 py-3.5 text-sm hover:bg-sunken/60 md:grid-cols-[14rem_1fr_5rem]"
          >
            <Link href={`/evals/${result.evalId}`} className="row-link truncate">
              {adapter.adapterId}
            </Link>
            <span className="order-3 col-span-2 grid grid-cols-[1fr_3.5rem] items-center gap-x-3 gap-y-1 text-xs tabular-nums md:order-none md:col-span-1">
              <ScoreBar score={result.adapterScore} tone="accent" />
              <span className="text-right font-medium">{percent(result.adapterScore)}</span>
              <ScoreBar score={result.baseScore} tone="base" />
              <span className="text-right text-muted">{percent(result.baseScore)}</span>
            </span>
            <span className="text-right">
              <Lift result={result} />
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
