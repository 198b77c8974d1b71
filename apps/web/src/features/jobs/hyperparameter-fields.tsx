"use client";
import { loraModules, optimizers, quantizations, schedulers } from "@grove/contracts/jobs";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Field, Input, Select } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { ChevronRight } from "lucide-react";
import { ContinueField } from "./continue-field";
import {
  advancedFields,
  type JobDraft,
  mainFields,
  methodFor,
  type NumberField,
  type NumberFieldSpec,
} from "./job-draft";

type Props = { draft: JobDraft; problemOf: (key: string) => string | null; onChange: (draft: JobDraft) => void };

export function HyperparameterFields({ draft, problemOf, onChange }: Props) {
  const { choices } = draft;
  const choose = (change: Partial<JobDraft["choices"]>) => onChange({ ...draft, choices: { ...choices, ...change } });
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
            <Field
              label="Stop by the score"
              hint="Checkpoints in a row without a better score of the answers checked; the best one is kept."
              error={problemOf("stopOnScore") ?? problemOf("stopOnScore.patience")}
            >
              <Input
                name="scorePatience"
                inputMode="numeric"
                placeholder="off"
                value={draft.scorePatience}
                onChange={(event) => onChange({ ...draft, scorePatience: event.target.value })}
              />
            </Field>
            <ContinueField draft={draft} problem={problemOf("continueFrom")} onChange={onChange} />
            <ChoiceField
              label="Schedule"
              hint="How the learning rate falls."
              options={schedulers}
              value={choices.scheduler}
              onChange={(scheduler) => choose({ scheduler })}
            />
            <ChoiceField
              label="Base while training"
              hint="nf4 and int8 train against a quantized base (QLoRA); steps are slower."
              options={quantizations}
              value={choices.quantization}
              onChange={(quantization) => choose({ quantization })}
            />
            {draft.template.dataKind === "preference" ? (
              <ChoiceField
                label="Method"
                hint="DPO compares with the base, ORPO needs no comparison."
                options={["dpo", "orpo"]}
                value={methodFor(draft)}
                onChange={(method) => choose({ method })}
              />
            ) : null}
            <ChoiceField
              label="Optimizer"
              hint="adamw suits nearly everything."
              options={optimizers}
              value={choices.optimizer}
              onChange={(optimizer) => choose({ optimizer })}
            />
          </div>
          <SwitchField
            title="Rank-stabilized scale (rsLoRA)"
            hint="for ranks of 32 and more"
            checked={choices.useRslora}
            onChange={(useRslora) => choose({ useRslora })}
          />
          <SwitchField
            title="DoRA"
            hint="learns a magnitude for each output too; steps are slower"
            checked={choices.useDora}
            onChange={(useDora) => choose({ useDora })}
          />
          {choices.useDora ? (
            <Notice tone="warn" title="A DoRA adapter is for download and merging">
              It cannot be served from the shared base, so it is not offered in the playground, in evaluations or under
              an adapter id. Leave DoRA off to have it served here.
            </Notice>
          ) : null}
          <ModuleChoice
            chosen={choices.targetModules}
            problem={problemOf("targetModules")}
            onChange={(targetModules) => choose({ targetModules })}
          />
        </div>
      </details>
    </Card>
  );
}

type ChoiceProps<T extends string> = {
  label: string;
  hint: string;
  options: readonly T[];
  value: T;
  onChange: (value: T) => void;
};

function ChoiceField<T extends string>({ label, hint, options, value, onChange }: ChoiceProps<T>) {
  return (
    <Field label={label} hint={hint}>
      <Select
        name={label.toLowerCase()}
        value={value}
        onChange={(event) => onChange(options.find((item) => item === event.target.value) ?? value)}
      >
        {options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </Select>
    </Field>
  );
}

type SwitchProps = { title: string; hint: string; checked: boolean; onChange: (checked: boolean) => void };

function SwitchField({ title, hint, checked, onChange }: SwitchProps) {
  return (
    <label className="flex cursor-pointer items-center gap-2 text-[13px]">
      <input
        type="checkbox"
        className="size-4 accent-accent"
        checked={checked}
        onChange={(event) => onChange(event.target.checked)}
      />
      <span>
        {title} <span className="text-muted">{hint}</span>
      </span>
    </label>
  );
}

type Modules = JobDraft["choices"]["targetModules"];
type ModuleProps = { chosen: Modules; problem: string | null; onChange: (chosen: Modules) => void };

function ModuleChoice({ chosen, problem, onChange }: ModuleProps) {
  return (
    <fieldset className="flex flex-col gap-2">
      <legend className="mb-1.5 text-[13px] font-medium">Layers that get an adapter</legend>
      <div className="flex flex-wrap gap-x-5 gap-y-2">
        {loraModules.map((module) => (
          <label key={module} className="flex cursor-pointer items-center gap-2 font-mono text-[13px]">
            <input
              type="checkbox"
              className="size-4 accent-accent"
              checked={chosen.includes(module)}
              onChange={(event) =>
                onChange(loraModules.filter((item) => (item === module ? event.target.checked : chosen.includes(item))))
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
