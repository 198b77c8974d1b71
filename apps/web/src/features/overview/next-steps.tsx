import { buttonStyles } from "@grove/ui/button";
import { Card, CardHeader } from "@grove/ui/card";
import { Check } from "lucide-react";
import Link from "next/link";

type NextStepsProps = {
  hasData: boolean;
  hasJob: boolean;
  newestAdapter: string | null;
  hasPrompted: boolean;
  hasEval: boolean;
  hasToken: boolean;
};
type Step = { title: string; text: string; href: string; action: string; done: boolean };

function stepsOf({ hasData, hasJob, newestAdapter, hasPrompted, hasEval, hasToken }: NextStepsProps): Step[] {
  const query = newestAdapter === null ? "" : `?adapter=${encodeURIComponent(newestAdapter)}`;
  const waiting = hasJob && newestAdapter === null;
  return [
    {
      title: "Upload data",
      text: "A CSV or JSONL file with what goes in and the answer you want out.",
      href: "/datasets",
      action: "Upload data",
      done: hasData,
    },
    {
      title: "Train an adapter",
      text: waiting ? "It is being trained. Watch its loss fall." : "Write a prompt template, see the price, start.",
      href: waiting ? "/jobs" : "/jobs/new",
      action: waiting ? "Watch it" : "New job",
      done: newestAdapter !== null,
    },
    {
      title: "Try it beside its base",
      text: "The same prompt to both, answers streaming side by side.",
      href: `/lora-land${query}`,
      action: "Open playground",
      done: hasPrompted,
    },
    {
      title: "Prove that it is better",
      text: "Both answer held-out rows; the worst ones come first.",
      href: `/evals/new${query}`,
      action: "Evaluate",
      done: hasEval,
    },
    {
      title: "Call it from your code",
      text: "Make a token and paste three lines of curl, Python or TypeScript.",
      href: "/serving",
      action: "Quick start",
      done: hasToken,
    },
  ];
}

/** The way through the product; gone once it has been walked. */
export function NextSteps(props: NextStepsProps) {
  const steps = stepsOf(props);
  const next = steps.findIndex((step) => !step.done);
  if (next === -1) return null;
  return (
    <Card>
      <CardHeader title="What next" hint={`${steps.filter((step) => step.done).length} of ${steps.length} done`} />
      <ol className="divide-y divide-line">
        {steps.map((step, index) => (
          <li
            key={step.title}
            className={`flex flex-wrap items-center gap-x-4 gap-y-3 px-5 py-4 ${index === next ? "bg-accent-soft/50" : ""}`}
            aria-current={index === next ? "step" : undefined}
          >
            <Marker number={index + 1} done={step.done} isNext={index === next} />
            <div className="min-w-48 flex-1">
              <p className={`text-sm font-medium ${step.done ? "text-muted" : "text-ink"}`}>
                {step.title}
                {step.done ? <span className="sr-only"> (done)</span> : null}
              </p>
              <p className="text-[13px] text-muted">{step.text}</p>
            </div>
            {step.done ? null : (
              <Link
                href={step.href}
                className={buttonStyles({ variant: index === next ? "primary" : "secondary", size: "sm" })}
              >
                {step.action}
              </Link>
            )}
          </li>
        ))}
      </ol>
    </Card>
  );
}

function Marker({ number, done, isNext }: { number: number; done: boolean; isNext: boolean }) {
  const look = done
    ? "bg-accent text-on-accent"
    : isNext
      ? "bg-surface text-accent-text ring-2 ring-accent"
      : "bg-sunken text-faint ring-1 ring-line ring-inset";
  return (
    <span
      aria-hidden
      className={`flex size-7 shrink-0 items-center justify-center rounded-full text-[13px] font-semibold tabular-nums ${look}`}
    >
      {done ? <Check className="size-4" /> : number}
    </span>
  );
}
