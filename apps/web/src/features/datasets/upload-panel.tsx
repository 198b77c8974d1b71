"use client";
import { Button } from "@grove/ui/button";
import { Field, Input } from "@grove/ui/field";
import { ProgressBar } from "@grove/ui/progress";
import { Notice } from "@grove/ui/states";
import { FileUp } from "lucide-react";
import { type DragEvent, useRef, useState } from "react";
import type { ShownFailure } from "@/features/shared/failure";
import { bytes, percent } from "@/features/shared/format";
import { type Upload, uploadFile } from "./upload";

type State =
  | { step: "choose"; failure: ShownFailure | null }
  | { step: "named"; file: File; failure: ShownFailure | null }
  | { step: "sending"; file: File; fraction: number; upload: Upload };

type UploadPanelProps = { initialFile: File | null; onUploaded: (datasetId: string) => void };

function nameOf(file: File): string {
  return (
    file.name
      .replace(/\.[^.]+$/, "")
      .replace(/[_-]+/g, " ")
      .slice(0, 120) || "Untitled"
  );
}

function isSupported(file: File): boolean {
  return /\.(csv|jsonl|ndjson)$/i.test(file.name);
}

const unsupported: ShownFailure = {
  code: "dataset_format_unknown",
  message: "Choose a .csv or .jsonl file. Other formats can't be read yet.",
  field: null,
  line: null,
};

/** Choose or drop a file, give it a name, send it. */
export function UploadPanel({ initialFile, onUploaded }: UploadPanelProps) {
  const [state, setState] = useState<State>(
    initialFile === null ? { step: "choose", failure: null } : { step: "named", file: initialFile, failure: null },
  );
  const [name, setName] = useState(initialFile === null ? "" : nameOf(initialFile));

  const choose = (file: File) => {
    if (!isSupported(file)) return setState({ step: "choose", failure: unsupported });
    setName(nameOf(file));
    setState({ step: "named", file, failure: null });
  };
  const send = async (file: File) => {
    const upload = uploadFile(file, name, (fraction) => setState({ step: "sending", file, fraction, upload }));
    setState({ step: "sending", file, fraction: 0, upload });
    const result = await upload.done;
    if (result.ok) onUploaded(result.datasetId);
    else setState({ step: "named", file, failure: result.failure });
  };

  if (state.step === "choose") {
    return (
      <div className="flex flex-col gap-4">
        {state.failure === null ? null : <FailureNotice failure={state.failure} />}
        <DropZone onFile={choose} />
      </div>
    );
  }
  if (state.step === "sending") {
    return (
      <div className="flex flex-col gap-3">
        <div className="flex items-baseline justify-between gap-4 text-sm">
          <span className="truncate font-medium">{state.file.name}</span>
          <span className="shrink-0 text-muted tabular-nums">
            {state.fraction < 1 ? `${percent(state.fraction)} of ${bytes(state.file.size)}` : "Saving…"}
          </span>
        </div>
        <ProgressBar fraction={state.fraction} label="Upload progress" />
        <div className="flex justify-end">
          <Button size="sm" onClick={state.upload.abort}>
            Stop
          </Button>
        </div>
      </div>
    );
  }
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        void send(state.file);
      }}
    >
      {state.failure === null ? null : <FailureNotice failure={state.failure} />}
      <p className="truncate rounded-lg bg-sunken px-3 py-2 text-sm">
        {state.file.name} <span className="text-muted">· {bytes(state.file.size)}</span>
      </p>
      <Field label="Name" hint="How it appears in lists.">
        <Input
          name="name"
          required
          maxLength={120}
          autoFocus
          value={name}
          onChange={(event) => setName(event.target.value)}
        />
      </Field>
      <div className="flex justify-end gap-2">
        <Button onClick={() => setState({ step: "choose", failure: null })}>Another file</Button>
        <Button type="submit" variant="primary">
          Upload
        </Button>
      </div>
    </form>
  );
}

function FailureNotice({ failure }: { failure: ShownFailure }) {
  return (
    <Notice tone="bad" title={failure.line === null ? failure.message : `Line ${failure.line}: ${failure.message}`} />
  );
}

function DropZone({ onFile }: { onFile: (file: File) => void }) {
  const [over, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    const file = event.dataTransfer.files[0];
    if (file !== undefined) onFile(file);
  };
  return (
    <button
      type="button"
      onClick={() => picker.current?.click()}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={onDrop}
      className={`flex w-full cursor-pointer flex-col items-center rounded-xl border border-dashed px-6 py-10 text-center transition-colors outline-none focus-visible:ring-2 focus-visible:ring-accent/60 ${over ? "border-accent bg-accent-soft" : "border-line-strong hover:border-accent hover:bg-sunken"}`}
    >
      <FileUp className="size-6 text-accent-text" aria-hidden />
      <span className="mt-3 text-sm font-medium">Drop a file here, or choose one</span>
      <span className="mt-1 text-[13px] text-muted">CSV with a header line, or JSONL with one object a line</span>
      <input
        ref={picker}
        type="file"
        aria-label="Data file"
        accept=".csv,.jsonl,.ndjson"
        className="sr-only"
        tabIndex={-1}
        onClick={(event) => event.stopPropagation()}
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file !== undefined) onFile(file);
        }}
      />
    </button>
  );
}
