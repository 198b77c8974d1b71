"use client";
import type { EvalAnswer, EvalRowView } from "@grove/contracts/evals";
import { Button } from "@grove/ui/button";
import { Card, CardHeader } from "@grove/ui/card";
import { Segmented } from "@grove/ui/tabs";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ChevronLeft, ChevronRight } from "lucide-react";
import { useState } from "react";
import { count, percent } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { useLastLook } from "@/features/shared/use-last-look";

const limit = 20;
const orders = [
  { value: "worst", title: "Worst first" },
  { value: "index", title: "In order" },
] as const;

export function EvalRows({ evalId, running }: { evalId: string; running: boolean }) {
  const trpc = useTRPC();
  const [order, setOrder] = useState<"worst" | "index">("worst");
  const [offset, setOffset] = useState(0);
  const rows = useQuery(
    trpc.evals.rows.queryOptions(
      { evalId, offset, limit, order },
      { placeholderData: keepPreviousData, refetchInterval: running ? 3_000 : false },
    ),
  );
  useLastLook(running, rows.refetch);
  return (
    <Card>
      <CardHeader title="Rows" hint="Open a row to read its prompt.">
        <Segmented
          label="Order of the rows"
          value={order}
          options={orders}
          onChange={(value) => {
            setOrder(value);
            setOffset(0);
          }}
        />
      </CardHeader>
      <QueryView
        query={rows}
        what="the rows"
        isEmpty={(data) => data.total === 0}
        empty={
          <p className="py-12 text-center text-sm text-muted">
            {running ? "The first answers come in a moment." : "No row was answered."}
          </p>
        }
      >
        {(data) => (
          <>
            <div className="hidden grid-cols-[3.5rem_1fr_1fr_1fr] gap-4 border-b border-line bg-sunken/60 px-5 py-2.5 text-xs font-medium text-muted md:grid">
              <span>Row</span>
              <span>Right answer</span>
              <span>Fine-tuned</span>
              <span>Base</span>
            </div>
            <ul className="divide-y divide-line">
              {data.items.map((row) => (
                <RowView key={row.index} row={row} />
              ))}
            </ul>
            <Pager offset={offset} total={data.total} onMove={setOffset} />
          </>
        )}
      </QueryView>
    </Card>
  );
}

function RowView({ row }: { row: EvalRowView }) {
  return (
    <li>
      <details className="group">
        <summary className="grid cursor-pointer list-none gap-x-4 gap-y-2 px-5 py-3 text-sm outline-none hover:bg-sunken/60 focus-visible:ring-2 focus-visible:ring-accent/60 focus-visible:ring-inset md:grid-cols-[3.5rem_1fr_1fr_1fr] [&::-webkit-details-marker]:hidden">
          <span className="flex items-center gap-1 text-faint tabular-nums">
            <ChevronRight className="size-3.5 transition-transform group-open:rotate-90" aria-hidden />
            {row.index + 1}
          </span>
          <span className="line-clamp-3 min-w-0 break-words group-open:line-clamp-none">
            <span className="text-xs text-faint md:hidden">Right answer: </span>
            {row.reference}
          </span>
          <Answer side="Fine-tuned" answer={row.adapter} />
          <Answer side="Base" answer={row.base} />
        </summary>
        <pre className="max-h-80 overflow-auto border-t border-line bg-sunken px-5 py-4 font-mono text-[12.5px] leading-relaxed break-words whitespace-pre-wrap">
          {row.prompt}
        </pre>
      </details>
    </li>
  );
}

function Answer({ side, answer }: { side: string; answer: EvalAnswer }) {
  const tone =
    answer.error !== null || answer.score <= 0
      ? "text-danger-text"
      : answer.score >= 1
        ? "text-accent-text"
        : "text-warn";
  return (
    <span className="min-w-0">
      <span className="text-xs text-faint md:hidden">{side}: </span>
      <span className={`line-clamp-3 break-words group-open:line-clamp-none ${tone}`}>
        {answer.error ?? (answer.text.trim() === "" ? "(nothing)" : answer.text)}
      </span>
      <span className="mt-0.5 block text-xs text-faint tabular-nums">
        {percent(answer.score)}
        {answer.forcedChoice === null ? null : <> · forced choice: {answer.forcedChoice}</>}
      </span>
    </span>
  );
}

function Pager({ offset, total, onMove }: { offset: number; total: number; onMove: (offset: number) => void }) {
  if (total <= limit) return null;
  return (
    <nav
      aria-label="Pages of rows"
      className="flex items-center justify-between border-t border-line px-5 py-3 text-sm text-muted"
    >
      <span className="tabular-nums">
        {count(offset + 1)}–{count(Math.min(total, offset + limit))} of {count(total)}
      </span>
      <span className="flex gap-2">
        <Button size="sm" disabled={offset === 0} onClick={() => onMove(Math.max(0, offset - limit))}>
          <ChevronLeft /> Before
        </Button>
        <Button size="sm" disabled={offset + limit >= total} onClick={() => onMove(offset + limit)}>
          Next <ChevronRight />
        </Button>
      </span>
    </nav>
  );
}
