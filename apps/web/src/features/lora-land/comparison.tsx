"use client";
import type { AdapterVersionView } from "@grove/contracts/adapters";
import { Button } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Field, Input, Textarea } from "@grove/ui/field";
import { skipToken, useQuery } from "@tanstack/react-query";
import { Play, Square } from "lucide-react";
import { type FormEvent, useState } from "react";
import { numbered } from "@/features/shared/numbered";
import { templateColumns } from "@/features/shared/template-text";
import { useTRPC } from "@/features/shared/trpc";
import { AnswerPanel } from "./answer-panel";
import { useRun } from "./use-run";

/** A version, or a checkpoint of a job. */
type Compared = Pick<AdapterVersionView, "adapterId" | "baseModel" | "config" | "datasetId">;

export function Comparison({ adapter }: { adapter: Compared }) {
  const columns = templateColumns(adapter.config.promptTemplate);
  const [values, setValues] = useState<Record<string, string>>({});
  const [reference, setReference] = useState<string | null>(null);
  const [maxNewTokens, setMaxNewTokens] = useState("64");
  const [temperature, setTemperature] = useState("0");
  const { answers, isRunning, run, stop } = useRun();
  const isComplete = columns.every((column) => (values[column] ?? "") !== "");
  const limit = Math.min(1024, Math.max(1, Math.round(Number(maxNewTokens)) || 64));
  const heat = Math.min(2, Math.max(0, Number(temperature) || 0));

  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (isComplete && !isRunning)
      run({
        adapterId: adapter.adapterId,
        values: Object.fromEntries(columns.map((column) => [column, values[column] ?? ""])),
        maxNewTokens: limit,
        temperature: heat,
      });
  };
  return (
    <div className="flex min-w-0 flex-col gap-6">
      <Card>
        <CardHeader title="Prompt" hint="One field for each column of the template." />
        <CardBody>
          <form onSubmit={onSubmit} className="flex flex-col gap-5">
            <ExampleChips
              adapter={adapter}
              columns={columns}
              onChoose={(sample) => {
                setValues(sample);
                setReference(sample[adapter.config.targetColumn] ?? null);
              }}
            />
            {columns.map((column) => (
              <Field key={column} label={column}>
                <Textarea
                  rows={(values[column] ?? "").length > 160 ? 5 : 2}
                  name={column}
                  value={values[column] ?? ""}
                  onChange={(event) => {
                    setValues({ ...values, [column]: event.target.value });
                    setReference(null);
                  }}
                />
              </Field>
            ))}
            <div className="flex flex-wrap items-end justify-between gap-4">
              <div className="grid grid-cols-2 gap-4">
                <Field label="Most new tokens">
                  <Input
                    name="maxNewTokens"
                    inputMode="numeric"
                    value={maxNewTokens}
                    onChange={(event) => setMaxNewTokens(event.target.value)}
                    onBlur={() => setMaxNewTokens(String(limit))}
                  />
                </Field>
                <Field label="Temperature">
                  <Input
                    name="temperature"
                    inputMode="decimal"
                    value={temperature}
                    onChange={(event) => setTemperature(event.target.value)}
                    onBlur={() => setTemperature(String(heat))}
                  />
                </Field>
              </div>
              {/* the keys keep them two buttons: one that turned from Stop into Run under the click would submit the form */}
              {isRunning ? (
                <Button key="stop" size="lg" onClick={stop}>
                  <Square /> Stop
                </Button>
              ) : (
                <Button key="run" type="submit" size="lg" variant="primary" disabled={!isComplete}>
                  <Play /> Run
                </Button>
              )}
            </div>
          </form>
        </CardBody>
      </Card>
      {reference === null || answers.adapter.state === "idle" ? null : (
        <p className="text-sm text-muted">
          The row&apos;s own answer: <span className="font-medium text-ink">{reference}</span>
        </p>
      )}
      <div className="grid items-start gap-6 md:grid-cols-2">
        <AnswerPanel title="Fine-tuned" subtitle={adapter.adapterId} tone="accent" answer={answers.adapter} />
        <AnswerPanel title="Base" subtitle={adapter.baseModel} tone="plain" answer={answers.base} />
      </div>
    </div>
  );
}

type ExampleChipsProps = {
  adapter: Compared;
  columns: string[];
  onChoose: (sample: Record<string, string>) => void;
};

/** Rows of the data set that it was trained on, if that is still there. */
function ExampleChips({ adapter, columns, onChoose }: ExampleChipsProps) {
  const trpc = useTRPC();
  const dataset = useQuery(
    trpc.datasets.get.queryOptions(adapter.datasetId === null ? skipToken : { id: adapter.datasetId }, {
      staleTime: 300_000,
    }),
  );
  const rows = dataset.data?.profile?.samples ?? [];
  const samples = rows.filter((row) => columns.every((column) => Object.hasOwn(row, column))).slice(0, 6);
  if (samples.length === 0) return null;
  return (
    <fieldset aria-label="Example rows" className="flex min-w-0 flex-wrap gap-2">
      {numbered(samples).map(({ key, item: sample }) => (
        <button
          key={key}
          type="button"
          onClick={() => onChoose(sample)}
          className="max-w-full cursor-pointer truncate rounded-full bg-sunken px-3 py-1 text-left text-[13px] text-muted ring-1 ring-line outline-none ring-inset hover:text-accent-text hover:ring-accent focus-visible:ring-2 focus-visible:ring-accent sm:max-w-72"
        >
          {columns
            .map((column) => sample[column] ?? "")
            .join(" · ")
            .slice(0, 90)}
        </button>
      ))}
    </fieldset>
  );
}
