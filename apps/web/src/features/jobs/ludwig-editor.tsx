"use client";
import type { JobConfig, LudwigProblem } from "@grove/contracts/jobs";
import { Button } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Notice } from "@grove/ui/states";
import { skipToken, useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { plural } from "@/features/shared/format";
import { useTRPC } from "@/features/shared/trpc";
import { useDebounced } from "@/features/shared/use-debounced";
import { ludwigStart } from "./ludwig-start";

type LudwigEditorProps = {
  datasetId: string;
  columns: string[];
  baseModel: string;
  template: { promptTemplate: string; targetColumn: string };
  onConfig: (config: JobConfig) => void;
};

/** Ludwig's configuration as text, checked while it is typed; using it fills the form. */
export function LudwigEditor({ datasetId, baseModel, template, columns, onConfig }: LudwigEditorProps) {
  const trpc = useTRPC();
  const [yaml, setYaml] = useState(() => ludwigStart(baseModel, template, columns));
  const [used, setUsed] = useState<string | null>(null);
  const settled = useDebounced(yaml);
  const parsed = useQuery(
    trpc.jobs.parseLudwig.queryOptions(settled.trim() === "" ? skipToken : { datasetId, yaml: settled }, {
      staleTime: 60_000,
    }),
  );
  const problems = parsed.data?.ok === false ? parsed.data.problems : [];
  const config = parsed.data?.ok === true && settled === yaml ? parsed.data.config : null;
  return (
    <Card>
      <CardHeader title="Ludwig configuration" hint="model_type: llm. Unknown keys are errors, with their line.">
        <Button
          size="sm"
          variant="primary"
          disabled={config === null || used === yaml}
          onClick={() => {
            if (config === null) return;
            onConfig(config);
            setUsed(yaml);
          }}
        >
          {used === yaml ? "In use" : "Use this configuration"}
        </Button>
      </CardHeader>
      <CardBody>
        <div className="flex flex-col gap-4">
          <CodeArea value={yaml} marked={problems.map((problem) => problem.line)} onChange={setYaml} />
          {parsed.error !== null ? <Notice tone="bad" title={failureOf(parsed.error).message} /> : null}
          {problems.length > 0 ? <ProblemList problems={problems} /> : null}
          {parsed.data?.ok === true ? (
            <Notice tone="good" title="This configuration is valid">
              {parsed.data.notes.length === 0 ? (
                "Use it to fill the form; the preview and the price follow."
              ) : (
                <ul className="list-disc pl-4">
                  {parsed.data.notes.map((note) => (
                    <li key={note}>{note}</li>
                  ))}
                </ul>
              )}
            </Notice>
          ) : null}
        </div>
      </CardBody>
    </Card>
  );
}

function ProblemList({ problems }: { problems: LudwigProblem[] }) {
  return (
    <Notice tone="bad" title={plural(problems.length, "problem")}>
      <ul className="flex flex-col gap-1">
        {problems.map((problem) => (
          <li key={`${problem.line} ${problem.column} ${problem.message}`}>
            <span className="font-medium tabular-nums">Line {problem.line}</span>
            {problem.key === "" ? null : <code className="mx-1.5 font-mono text-[13px]">{problem.key}</code>}{" "}
            {problem.message}
          </li>
        ))}
      </ul>
    </Notice>
  );
}

function CodeArea({ value, marked, onChange }: { value: string; marked: number[]; onChange: (value: string) => void }) {
  const gutter = useRef<HTMLDivElement>(null);
  const lines = value.split("\n").map((_, index) => index + 1);
  return (
    <div className="flex h-96 overflow-hidden rounded-lg border border-line-strong bg-surface font-mono text-[13px] leading-6 focus-within:border-accent focus-within:ring-2 focus-within:ring-accent/25">
      <div
        ref={gutter}
        aria-hidden
        className="shrink-0 overflow-hidden border-r border-line bg-sunken py-2 text-right text-faint select-none"
      >
        {lines.map((line) => (
          <div
            key={line}
            className={`px-2.5 ${marked.includes(line) ? "bg-danger-soft font-semibold text-danger-text" : ""}`}
          >
            {line}
          </div>
        ))}
      </div>
      <textarea
        aria-label="Ludwig configuration as YAML"
        spellCheck={false}
        wrap="off"
        value={value}
        onChange={(event) => onChange(event.target.value)}
        onScroll={(event) => gutter.current?.scrollTo({ top: event.currentTarget.scrollTop })}
        className="w-full resize-none overflow-auto bg-transparent px-3 py-2 outline-none"
      />
    </div>
  );
}
