import type { Generated } from "@grove/contracts/serving";
import { Card } from "@grove/ui/card";
import { count, duration, money } from "@/features/shared/format";
import type { Answer } from "./use-run";

type AnswerPanelProps = { title: string; subtitle: string; tone: "accent" | "plain"; answer: Answer };

export function AnswerPanel({ title, subtitle, tone, answer }: AnswerPanelProps) {
  return (
    <Card>
      <div className={`h-0.5 ${tone === "accent" ? "bg-accent" : "bg-line-strong"}`} />
      <header className="flex items-baseline justify-between gap-3 border-b border-line px-5 py-3">
        <h2 className="shrink-0 text-sm font-semibold">{title}</h2>
        <span className="truncate font-mono text-xs text-muted">{subtitle}</span>
      </header>
      <section
        className="min-h-36 px-5 py-4 text-[15px] leading-relaxed"
        aria-live="polite"
        aria-label={`${title} answer`}
        data-state={answer.state}
      >
        <AnswerText answer={answer} />
      </section>
      <footer className="min-h-11 border-t border-line px-5 py-3 text-xs text-muted tabular-nums">
        {answer.state === "done" ? <Figures result={answer.result} /> : <RunningFigures answer={answer} />}
      </footer>
    </Card>
  );
}

function AnswerText({ answer }: { answer: Answer }) {
  switch (answer.state) {
    case "idle":
      return <p className="text-sm text-faint">Its answer comes here.</p>;
    case "failed":
      return (
        <>
          <p className="break-words whitespace-pre-wrap">{answer.text}</p>
          <p role="alert" className="mt-2 rounded-lg bg-danger-soft px-3 py-2 text-sm text-danger-text">
            {answer.message}
          </p>
        </>
      );
    case "running":
      return (
        <p className="break-words whitespace-pre-wrap">
          {answer.text}
          <span
            className="ml-0.5 inline-block h-[1.1em] w-[2px] animate-pulse bg-accent align-text-bottom"
            aria-hidden
          />
        </p>
      );
    case "stopped":
    case "done":
      return answer.text.trim() === "" ? (
        <p className="text-sm text-faint">It answered with nothing.</p>
      ) : (
        <p className="break-words whitespace-pre-wrap">{answer.text.trim()}</p>
      );
  }
}

function RunningFigures({ answer }: { answer: Answer }) {
  if (answer.state === "running")
    return answer.pieces === 0 ? <>Reading the prompt…</> : <>{count(answer.pieces)} tokens so far</>;
  if (answer.state === "stopped") return <>Stopped. What was made until then is billed.</>;
  return null;
}

function Figures({ result }: { result: Generated }) {
  const first = result.timeToFirstTokenMs;
  return (
    <dl className="flex flex-wrap gap-x-4 gap-y-1">
      {[
        { label: "tokens in", value: count(result.promptTokens) },
        { label: "out", value: count(result.completionTokens) },
        { label: "time", value: duration(result.milliseconds / 1000) },
        ...(first === null ? [] : [{ label: "to first token", value: duration(first / 1000) }]),
        { label: "cost", value: money(result.costMicroUsd) },
      ].map((item) => (
        <div key={item.label} className="flex gap-1">
          <dt className="order-2">{item.label}</dt>
          <dd className="font-medium text-ink">{item.value}</dd>
        </div>
      ))}
    </dl>
  );
}
