"use client";
import type { ExactQuote, JobQuote } from "@grove/contracts/jobs";
import { type SweepGrid, type SweepQuote, sweepSize } from "@grove/contracts/sweeps";
import { Button } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Notice, Skeleton } from "@grove/ui/states";
import { keepPreviousData, skipToken, useQuery } from "@tanstack/react-query";
import { Play } from "lucide-react";
import { failureOf, type ShownFailure } from "@/features/shared/failure";
import { bytes, count, duration, money, plural } from "@/features/shared/format";
import { useTRPC } from "@/features/shared/trpc";
import { useDebounced } from "@/features/shared/use-debounced";
import type { CheckedDraft } from "./job-draft";

type QuotePanelProps = {
  checked: CheckedDraft;
  asked: boolean;
  failure: ShownFailure | null;
  grid: SweepGrid | null; // a sweep, where there is one
  busy: boolean;
  onStart: () => void;
};

/** The price before the work, and the button that begins it. */
export function QuotePanel({ checked, asked, failure, grid, busy, onStart }: QuotePanelProps) {
  const trpc = useTRPC();
  const asking = JSON.stringify([checked, grid]);
  const isSettled = useDebounced(asking, 1_000) === asking;
  const quote = useQuery(
    trpc.jobs.quote.queryOptions(checked.ok && isSettled && grid === null ? checked.input : skipToken, {
      placeholderData: keepPreviousData,
      staleTime: 60_000,
      refetchInterval: ({ state }) => (state.data?.status === "waiting" ? 1_500 : false),
    }),
  );
  const sweep = useQuery(
    trpc.sweeps.quote.queryOptions(checked.ok && isSettled && grid !== null ? { ...checked.input, grid } : skipToken, {
      placeholderData: keepPreviousData,
      staleTime: 60_000,
    }),
  );
  const error = grid === null ? quote.error : sweep.error;
  const refusal = failure ?? (error === null ? null : failureOf(error));
  const problem = checked.ok ? null : (Object.values(checked.problems)[0] ?? null);
  return (
    <Card>
      <CardHeader title="Before it starts" />
      <CardBody>
        <div className="flex flex-col gap-4">
          {refusal !== null ? <Notice tone="bad" title={refusal.message} /> : null}
          {problem !== null && asked ? <Notice tone="warn" title={problem} /> : null}
          {grid === null && quote.data !== undefined ? (
            <QuoteView
              quote={quote.data}
              label={priceLabel(checked, quote.data)}
              maxLength={checked.ok ? checked.input.config.hyperparameters.maxLength : null}
            />
          ) : grid !== null && sweep.data !== undefined ? (
            <SweepQuoteView quote={sweep.data} />
          ) : checked.ok && refusal === null ? (
            <Skeleton shape="row" />
          ) : (
            <p className="text-sm text-muted">Fill in the form to see the price.</p>
          )}
          <Button variant="primary" size="lg" busy={busy} onClick={onStart}>
            <Play /> {grid === null ? "Start training" : `Start ${sweepSize(grid)} runs`}
          </Button>
        </div>
      </CardBody>
    </Card>
  );
}

/** A run may stop early, by its time or its progress; until the trainer has answered, the figures are an estimate. */
function priceLabel(checked: CheckedDraft, quote: JobQuote): string {
  if (!checked.ok) return "Price";
  const { maxSeconds, earlyStoppingPatience, stopOnScore } = checked.input.config.hyperparameters;
  if (maxSeconds !== null || earlyStoppingPatience !== null || stopOnScore !== null) return "Price, at most";
  return quote.exact === null ? "Price, about" : "Price";
}

type QuoteViewProps = { quote: JobQuote; label: string; maxLength: number | null };

function QuoteView({ quote, label, maxLength }: QuoteViewProps) {
  return (
    <dl className="flex flex-col gap-2 text-sm">
      <Price label={label} microUsd={quote.priceMicroUsd} />
      <Row label="Training tokens" value={count(quote.trainTokens)} />
      <Row label="Per million tokens" value={money(quote.pricePerMillionTokensMicroUsd)} />
      <TrainerFigures quote={quote} maxLength={maxLength} />
      {quote.refusal === null ? null : <Notice tone="bad" title={quote.refusal.message} />}
    </dl>
  );
}

function SweepQuoteView({ quote }: { quote: SweepQuote }) {
  return (
    <dl className="flex flex-col gap-2 text-sm">
      <Price label={`Price of ${plural(quote.runs, "run")}, about`} microUsd={quote.priceMicroUsd} />
      <Row label="Training tokens" value={count(quote.trainTokens)} />
    </dl>
  );
}

type TrainerFiguresProps = { quote: JobQuote; maxLength: number | null };

function TrainerFigures({ quote: { exact, status, message }, maxLength }: TrainerFiguresProps) {
  if (status === "waiting")
    return <p className="animate-pulse text-[13px] text-muted">Trying a few steps for the exact figures …</p>;
  if (exact === null) return <Notice tone="warn" title={message ?? "There are no exact figures."} />;
  const lost = `${count(exact.rowsCut)}, ${count(exact.rowsDropped)} of ${count(exact.trainRows)}`;
  return (
    <>
      <Row label="Time on this machine, about" value={duration(exact.seconds)} />
      <Row label={exact.memoryAvailableBytes === null ? "Memory" : "Memory, of what is free"} value={memoryOf(exact)} />
      <Row label="Steps" value={count(exact.totalSteps)} />
      <Row
        label={maxLength === null ? "Rows are cut at (95th percentile)" : "Rows are cut at"}
        value={plural(exact.maxLength, "token")}
      />
      <Row label="Rows cut, left out" value={lost} />
    </>
  );
}

function memoryOf({ memoryBytes, memoryAvailableBytes }: ExactQuote): string {
  return memoryAvailableBytes === null ? bytes(memoryBytes) : `${bytes(memoryBytes)} of ${bytes(memoryAvailableBytes)}`;
}

function Price({ label, microUsd }: { label: string; microUsd: bigint }) {
  return (
    <div className="flex items-baseline justify-between gap-4">
      <dt className="text-muted">{label}</dt>
      <dd className="text-xl font-semibold tracking-tight tabular-nums" data-testid="quote-price">
        {money(microUsd)}
      </dd>
    </div>
  );
}

function Row({ label, value }: { label: string; value: string }) {
  return (
    <div className="flex items-baseline justify-between gap-4">
      <dt className="text-muted">{label}</dt>
      <dd className="tabular-nums">{value}</dd>
    </div>
  );
}
