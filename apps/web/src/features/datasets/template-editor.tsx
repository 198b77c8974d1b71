"use client";
import type { ColumnProfile } from "@grove/contracts/datasets";
import type { PromptFormat } from "@grove/contracts/jobs";
import { Field, Select, Textarea } from "@grove/ui/field";
import { Segmented } from "@grove/ui/tabs";
import { useRef } from "react";

export type TemplateValues = { promptTemplate: string; targetColumn: string; promptFormat: PromptFormat };
type TemplateEditorProps = {
  columns: ColumnProfile[];
  values: TemplateValues;
  errors: { promptTemplate: string | null; targetColumn: string | null };
  onChange: (values: TemplateValues) => void;
};

const formats = [
  { value: "raw", title: "As written" },
  { value: "chat", title: "Chat turn" },
] as const;

export function TemplateEditor({ columns, values, errors, onChange }: TemplateEditorProps) {
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
    <div className="flex flex-col gap-5">
      <div ref={box} className="flex flex-col gap-2">
        <Field
          label="Prompt template"
          error={errors.promptTemplate}
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
          {columns.map((column) => (
            <button
              key={column.name}
              type="button"
              title={`Insert {${column.name}}`}
              onClick={() => insert(column.name)}
              className="cursor-pointer rounded-md bg-sunken px-2 py-1 font-mono text-xs text-muted ring-1 ring-line outline-none ring-inset hover:text-accent-text focus-visible:ring-2 focus-visible:ring-accent"
            >
              {`{${column.name}}`}
            </button>
          ))}
        </fieldset>
      </div>
      <div className="grid gap-5 sm:grid-cols-2">
        <Field label="Target column" error={errors.targetColumn} hint="The answer to learn.">
          <Select
            name="targetColumn"
            value={values.targetColumn}
            onChange={(event) => onChange({ ...values, targetColumn: event.target.value })}
          >
            {columns.some((column) => column.name === values.targetColumn) ? null : (
              <option value={values.targetColumn}>{values.targetColumn || "Choose a column"}</option>
            )}
            {columns.map((column) => (
              <option key={column.name} value={column.name}>
                {column.name}
              </option>
            ))}
          </Select>
        </Field>
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
      </div>
    </div>
  );
}
