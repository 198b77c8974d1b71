"use client";
import { type DataKind, type DatasetProfile, dataKinds } from "@grove/contracts/datasets";
import { Field, Select, Textarea } from "@grove/ui/field";
import { Segmented } from "@grove/ui/tabs";
import { useRef } from "react";
import { kindNames } from "./kind-names";
import { startTemplate, type TemplateValues } from "./template-values";

type TemplateEditorProps = {
  profile: DatasetProfile;
  values: TemplateValues;
  errors: { promptTemplate: string | null; targetColumn: string | null; rejectedColumn: string | null };
  onChange: (values: TemplateValues) => void;
};

const kinds = dataKinds.map((value) => ({ value, title: kindNames[value] }));
const hints: Record<DataKind, string> = {
  template: "Each row has an answer to learn, and columns that the prompt is made from.",
  messages: "Each row holds a list of messages; the assistant's are learnt, told with the base's chat template.",
  text: "Each row is a text to go on learning from, all of it.",
  preference: "Each row has two answers to one prompt; the model learns to give the first rather than the second.",
};
const targets: Record<DataKind, { label: string; hint: string }> = {
  template: { label: "Target column", hint: "The answer to learn." },
  messages: { label: "Column of messages", hint: 'A list of {"role", "content"} in each row.' },
  text: { label: "Text column", hint: "What is learnt." },
  preference: { label: "Wanted answer", hint: "The column with the better one." },
};
const formats = [
  { value: "raw", title: "As written" },
  { value: "chat", title: "Chat turn" },
] as const;

export function TemplateEditor({ profile, values, errors, onChange }: TemplateEditorProps) {
  const { dataKind } = values;
  const hasTemplate = dataKind === "template" || dataKind === "preference";
  const names = profile.columns.map((column) => column.name);
  return (
    <div className="flex flex-col gap-5">
      <div className="flex flex-col gap-1.5">
        <span className="text-[13px] font-medium">The rows are</span>
        <div>
          <Segmented
            label="The rows are"
            value={dataKind}
            options={kinds}
            onChange={(kind) => onChange(startTemplate(profile, kind))}
          />
        </div>
        <p className="text-[13px] text-muted">{hints[dataKind]}</p>
      </div>
      {hasTemplate ? (
        <TemplateText names={names} values={values} error={errors.promptTemplate} onChange={onChange} />
      ) : null}
      <div className="grid gap-5 sm:grid-cols-2">
        <ColumnField
          name="targetColumn"
          {...targets[dataKind]}
          names={names}
          value={values.targetColumn}
          error={errors.targetColumn}
          onChange={(targetColumn) => onChange({ ...values, targetColumn })}
        />
        {dataKind === "preference" ? (
          <ColumnField
            name="rejectedColumn"
            label="Unwanted answer"
            hint="The column with the worse one."
            names={names}
            value={values.rejectedColumn ?? ""}
            error={errors.rejectedColumn}
            onChange={(rejectedColumn) => onChange({ ...values, rejectedColumn })}
          />
        ) : null}
        {hasTemplate ? (
          <div className="flex flex-col gap-1.5">
            <span className="text-[13px] font-medium">Prompt format</span>
            <div>
              <Segmented
                label="Prompt format"
                value={values.promptFormat}
                options={formats}
                onChange={(promptFormat) => onChange({ ...values, promptFormat })}
              />
            </div>
            <p className="text-[13px] text-muted">
              {values.promptFormat === "raw"
                ? "The prompt is the template, word for word."
                : "The prompt is one user turn of the base's chat template."}
            </p>
          </div>
        ) : null}
      </div>
    </div>
  );
}

type TextProps = {
  names: string[];
  values: TemplateValues;
  error: string | null;
  onChange: (values: TemplateValues) => void;
};

function TemplateText({ names, values, error, onChange }: TextProps) {
  const box = useRef<HTMLDivElement>(null);
  const insert = (name: string) => {
    const area = box.current?.querySelector("textarea");
    const at = area?.selectionStart ?? values.promptTemplate.length;
    const end = area?.selectionEnd ?? at;
    onChange({
      ...values,
      promptTemplate: `${values.promptTemplate.slice(0, at)}{${name}}${values.promptTemplate.slice(end)}`,
    });
    area?.focus();
  };
  return (
    <div ref={box} className="flex flex-col gap-2">
      <Field
        label="Prompt template"
        error={error}
        hint="The text before the answer. {column} is filled in from each row; {{ and }} are plain braces."
      >
        <Textarea
          mono
          rows={6}
          name="promptTemplate"
          spellCheck={false}
          value={values.promptTemplate}
          onChange={(event) => onChange({ ...values, promptTemplate: event.target.value })}
        />
      </Field>
      <fieldset className="flex min-w-0 flex-wrap items-center gap-1.5" aria-label="Insert a column">
        {names.map((name) => (
          <button
            key={name}
            type="button"
            title={`Insert {${name}}`}
            onClick={() => insert(name)}
            className="cursor-pointer rounded-md bg-sunken px-2 py-1 font-mono text-xs text-muted ring-1 ring-line outline-none ring-inset hover:text-accent-text focus-visible:ring-2 focus-visible:ring-accent"
          >
            {`{${name}}`}
          </button>
        ))}
      </fieldset>
    </div>
  );
}

type ColumnProps = {
  name: string;
  label: string;
  hint: string;
  names: string[];
  value: string;
  error: string | null;
  onChange: (value: string) => void;
};

function ColumnField({ name, label, hint, names, value, error, onChange }: ColumnProps) {
  return (
    <Field label={label} error={error} hint={hint}>
      <Select name={name} value={value} onChange={(event) => onChange(event.target.value)}>
        {names.includes(value) ? null : <option value={value}>{value || "Choose a column"}</option>}
        {names.map((column) => (
          <option key={column} value={column}>
            {column}
          </option>
        ))}
      </Select>
    </Field>
  );
}
