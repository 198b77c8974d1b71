import { Field, Input, Textarea } from "@grove/ui/field";

export type ImportDraft = { repository: string; promptTemplate: string };
export const emptyDraft: ImportDraft = { repository: "", promptTemplate: "" };

type ImportFieldsProps = {
  draft: ImportDraft;
  errorOf: (field: string) => string | null;
  onChange: (draft: ImportDraft) => void;
};

/** What both ways in need to know. */
export function ImportFields({ draft, errorOf, onChange }: ImportFieldsProps) {
  return (
    <>
      <Field
        label="Repository here"
        hint="It becomes the next version of it; a new one is made if there is none."
        error={errorOf("repository")}
      >
        <Input
          required
          placeholder="support-intents"
          value={draft.repository}
          onChange={(event) => onChange({ ...draft, repository: event.target.value })}
        />
      </Field>
      <Field
        label="Prompt template (optional)"
        hint="How it is asked in the playground and in evaluations, with {columns}. Left empty: as its grove.json says, or the prompt as it is."
        error={errorOf("promptTemplate")}
      >
        <Textarea
          mono
          rows={3}
          value={draft.promptTemplate}
          onChange={(event) => onChange({ ...draft, promptTemplate: event.target.value })}
        />
      </Field>
    </>
  );
}

/** An empty template is none. */
export function toInput({ repository, promptTemplate }: ImportDraft) {
  return { repository, ...(promptTemplate === "" ? {} : { promptTemplate }) };
}
