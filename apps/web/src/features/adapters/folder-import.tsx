"use client";
import { Button } from "@grove/ui/button";
import { Field } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { bytes } from "@/features/shared/format";
import { useTRPCClient } from "@/features/shared/trpc";
import { emptyDraft, ImportFields, toInput } from "./import-fields";
import { type FolderFiles, pickFiles, sendFolder } from "./send-folder";

/** The files of a PEFT folder, chosen together. */
export function FolderImport({ onBegun }: { onBegun: (transferId: string) => void }) {
  const client = useTRPCClient();
  const [draft, setDraft] = useState(emptyDraft);
  const [files, setFiles] = useState<FolderFiles | string>("");
  const send = useMutation({
    mutationFn: async (chosen: FolderFiles) => {
      const { id } = await client.adapters.transfers.beginUpload.mutate(toInput(draft));
      await sendFolder(id, chosen);
      return client.adapters.transfers.finishUpload.mutate({ id });
    },
    onSuccess: (transfer) => onBegun(transfer.id),
  });
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        if (typeof files !== "string") send.mutate(files);
      }}
    >
      {send.error === null ? null : <Notice tone="bad" title={send.error.message} />}
      <Field
        label="Files of the folder"
        hint={
          typeof files === "string"
            ? "adapter_config.json and adapter_model.safetensors; README.md and grove.json where there are any."
            : told(files)
        }
        error={typeof files === "string" && files !== "" ? files : null}
      >
        <input
          required
          type="file"
          multiple
          aria-label="Files of the folder"
          accept=".json,.safetensors,.md,.bin"
          className="text-sm text-muted file:mr-3 file:h-9 file:cursor-pointer file:rounded-lg file:border file:border-line-strong file:bg-surface file:px-3.5 file:text-sm file:font-medium file:text-ink hover:file:bg-sunken"
          onChange={(event) => setFiles(pickFiles(event.target.files ?? []))}
        />
      </Field>
      <ImportFields draft={draft} errorOf={() => null} onChange={setDraft} />
      <div className="flex justify-end">
        <Button type="submit" variant="primary" busy={send.isPending} disabled={typeof files === "string"}>
          Import
        </Button>
      </div>
    </form>
  );
}

function told(files: FolderFiles): string {
  const size = [...files.values()].reduce((sum, file) => sum + file.size, 0);
  return `${[...files.keys()].join(", ")}: ${bytes(size)}`;
}
