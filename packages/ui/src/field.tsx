"use client";
import {
  createContext,
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  type TextareaHTMLAttributes,
  useContext,
  useId,
} from "react";

type FieldIds = { control: string; describedBy: string | undefined; invalid: boolean };
const FieldContext = createContext<FieldIds>({ control: "", describedBy: undefined, invalid: false });

type FieldProps = { label: string; hint?: ReactNode; error?: string | null; children: ReactNode };

/** Ties a label, a hint and an error to the one control inside. */
export function Field({ label, hint, error = null, children }: FieldProps) {
  const id = useId();
  const note = error !== null || hint !== undefined ? `${id}-note` : undefined;
  return (
    <FieldContext value={{ control: id, describedBy: note, invalid: error !== null }}>
      <div className="flex min-w-0 flex-col gap-1.5">
        <label htmlFor={id} className="text-[13px] font-medium text-ink">
          {label}
        </label>
        {children}
        {error !== null ? (
          <p id={note} role="alert" className="text-[13px] text-danger-text">
            {error}
          </p>
        ) : hint !== undefined ? (
          <p id={note} className="text-[13px] text-muted">
            {hint}
          </p>
        ) : null}
      </div>
    </FieldContext>
  );
}

const control =
  "w-full rounded-lg border border-line-strong bg-surface text-sm text-ink shadow-xs outline-none transition-colors placeholder:text-faint focus-visible:border-accent focus-visible:ring-2 focus-visible:ring-accent/25 disabled:opacity-60 aria-invalid:border-danger aria-invalid:ring-danger/20";

function useControl() {
  const field = useContext(FieldContext);
  return {
    id: field.control === "" ? undefined : field.control,
    "aria-describedby": field.describedBy,
    "aria-invalid": field.invalid || undefined,
  };
}

export function Input(props: Omit<InputHTMLAttributes<HTMLInputElement>, "className">) {
  return <input className={`${control} h-9 px-3`} {...useControl()} {...props} />;
}

/** `mono` for templates and configurations, where every space counts. */
export function Textarea({
  mono = false,
  ...props
}: Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "className"> & { mono?: boolean }) {
  return (
    <textarea
      className={`${control} resize-y px-3 py-2 leading-relaxed ${mono ? "font-mono text-[13px]" : ""}`}
      {...useControl()}
      {...props}
    />
  );
}

export function Select({ children, ...props }: Omit<SelectHTMLAttributes<HTMLSelectElement>, "className">) {
  return (
    <select
      className={`${control} h-9 cursor-pointer appearance-none bg-[image:var(--select-arrow)] bg-[length:16px] bg-[position:right_10px_center] bg-no-repeat pr-9 pl-3`}
      {...useControl()}
      {...props}
    >
      {children}
    </select>
  );
}
