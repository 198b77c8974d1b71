"use client";
import type { PreviewTemplateInput, TemplatePreview } from "@grove/contracts/datasets";
import { Notice, Skeleton } from "@grove/ui/states";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { failureOf } from "@/features/shared/failure";
import { count } from "@/features/shared/format";
import { numbered } from "@/features/shared/numbered";
import { useTRPC } from "@/features/shared/trpc";
import { useDebounced } from "@/features/shared/use-debounced";

/** How the rows look to the model, with the lengths that decide time and price. */
export function LiveTemplatePreview({ input }: { input: PreviewTemplateInput }) {
  const trpc = useTRPC();
  const settled = useDebounced(JSON.stringify(input));
  const isReady = settled === JSON.stringify(input) && input.promptTemplate !== "" && input.targetColumn !== "";
  const preview = useQuery(
    trpc.datasets.preview.queryOptions(input, {
      enabled: isReady,
      placeholderData: keepPreviousData,
      staleTime: 60_000,
    }),
  );
  if (preview.error !== null) {
    const failure = failureOf(preview.error);
    return <Notice tone="warn" title={failure.message} />;
  }
  if (preview.data === undefined) {
    return (
      <div role="status" aria-label="Rendering the preview" className="flex flex-col gap-3">
        <Skeleton shape="row" />
        <Skeleton shape="block" />
      </div>
    );
  }
  return <PreviewView preview={preview.data} />;
}

function PreviewView({ preview }: { preview: TemplatePreview }) {
  const { lengths } = preview;
  return (
    <div className="flex flex-col gap-4">
      <dl className="grid grid-cols-3 gap-px overflow-hidden rounded-lg border border-line bg-line text-center">
        {[
          { label: "Median", value: lengths.p50 },
          { label: "95th percentile", value: lengths.p95 },
          { label: "Longest", value: lengths.max },
        ].map((item) => (
          <div key={item.label} className="bg-surface px-2 py-2.5">
            <dd className="text-base font-semibold tabular-nums">{count(item.value)}</dd>
            <dt className="text-xs text-muted">{item.label}</dt>
          </div>
        ))}
      </dl>
      <p className="text-xs text-muted">
        Tokens a row, prompt and answer together; {count(lengths.total)} in all over {count(lengths.rowsMeasured)}{" "}
        training rows.
      </p>
      <ol className="flex flex-col gap-3">
        {numbered(preview.examples.slice(0, 3)).map(({ key, item: example }) => (
          <li key={key} className="overflow-hidden rounded-lg border border-line">
            <pre className="max-h-64 overflow-auto bg-sunken px-3.5 py-3 font-mono text-[12.5px] leading-relaxed break-words whitespace-pre-wrap">
              {example.prompt}
              <mark className="rounded bg-accent-soft px-0.5 font-medium text-accent-text">{example.completion}</mark>
              {example.rejected === null ? null : <del className="block pt-2 text-faint">{example.rejected}</del>}
            </pre>
            <p className="border-t border-line px-3.5 py-1.5 text-right text-xs text-faint tabular-nums">
              {count(example.tokens)} tokens
            </p>
          </li>
        ))}
      </ol>
    </div>
  );
}
