"use client";
import { loraModules, schedulers } from "@grove/contracts/jobs";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Field, Input, Select } from "@grove/ui/field";
import { ChevronRight } from "lucide-react";
import { advancedFields, type JobDraft, mainFields, type NumberField, type NumberFieldSpec } from "./job-draft";

type Props = { draft: JobDraft; problemOf: (key: string) => string | null; onChange: (draft: JobDraft) => void };

export function HyperparameterFields({ draft, problemOf, onChange }: Props) {
  const setNumber = (key: NumberField, text: string) =>
    onChange({ ...draft, numbers: { ...draft.numbers, [key]: text } });
  const numberFields = (fields: readonly NumberFieldSpec[]) =>
    fields.map((field) => (
      <Field key={field.key} label={field.label} hint={field.hint} error={problemOf(field.key)}>
        <Input
          name={field.key}
          inputMode="decimal"
          placeholder={field.placeholder}
          value={draft.numbers[field.key]}
          onChange={(event) => setNumber(field.key, event.target.value)}
        />
      </Field>
    ));
  return (
    <Card>
      <CardHeader title="Training" hint="The defaults were measured to work on a small base." />
      <CardBody>
        <div className="grid gap-x-5 gap-y-5 sm:grid-cols-2 xl:grid-cols-3">{numberFields(mainFields)}</div>
      </CardBody>
      <details className="group border-t border-line">
        <summary className="flex cursor-pointer list-none items-center gap-2 px-5 py-3.5 text-sm font-medium text-muted outline-none hover:text-ink focus-visible:text-accent-text [&::-webkit-details-marker]:hidden">
          <ChevronRight className="size-4 transition-transform group-open:rotate-90" aria-hidden /> Advanced
        </summary>
        <div className="flex flex-col gap-5 px-5 pb-5">
          <div className="grid gap-x-5 gap-y-5 sm:grid-cols-2 xl:grid-cols-3">
            {numberFields(advancedFields)}
            <Field label="Schedule" hint="How the learning rate falls.">
              <Select
                name="scheduler"
                value={draft.scheduler}
                onChange={(event) =>
                  onChange({
                    ...draft,
                    scheduler: schedulers.find((item) => item === event.target.value) ?? draft.scheduler,
                  })
                }
              >
                {schedulers.map((scheduler) => (
                  <option key={scheduler}>{scheduler}</option>
                ))}
              </Select>
            </Field>
          </div>
          <ModuleChoice draft={draft} problem={problemOf("targetModules")} onChange={onChange} />
        </div>
      </details>
    </Card>
  );
}

function ModuleChoice({
  draft,
  problem,
  onChange,
}: {
  draft: JobDraft;
  problem: string | null;
  onChange: (draft: JobDraft) => void;
}) {
  return (
    <fieldset className="flex flex-col gap-2">
      <legend className="mb-1.5 text-[13px] font-medium">Layers that get an adapter</legend>
      <div className="flex flex-wrap gap-x-5 gap-y-2">
        {loraModules.map((module) => (
          <label key={module} className="flex cursor-pointer items-center gap-2 font-mono text-[13px]">
            <input
              type="checkbox"
              className="size-4 accent-accent"
              checked={draft.targetModules.includes(module)}
              onChange={(event) =>
                onChange({
                  ...draft,
                  targetModules: loraModules.filter((item) =>
                    item === module ? event.target.checked : draft.targetModules.includes(item),
                  ),
                })
              }
            />
            {module}
          </label>
        ))}
      </div>
      {problem === null ? null : (
        <p role="alert" className="text-[13px] text-danger-text">
          Choose at least one layer.
        </p>
      )}
    </fieldset>
  );
}
