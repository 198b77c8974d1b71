"use client";
import { Field, Input } from "@grove/ui/field";
import { useQuery } from "@tanstack/react-query";
import { useTRPC } from "@/features/shared/trpc";
import { goOnFrom, type JobDraft } from "./job-draft";

type ContinueFieldProps = { draft: JobDraft; problem: string | null; onChange: (draft: JobDraft) => void };

/** An adapter to start from, by its id; a version that is known sets what the new one has to share with it. */
export function ContinueField({ draft, problem, onChange }: ContinueFieldProps) {
  const trpc = useTRPC();
  const adapters = useQuery(trpc.adapters.list.queryOptions());
  const fitting = (adapters.data ?? []).filter((adapter) => adapter.baseModel === draft.baseModel);
  const choose = (adapterId: string) => {
    const known = fitting.find((adapter) => adapter.adapterId === adapterId);
    onChange(goOnFrom(draft, adapterId, known?.config ?? null));
  };
  return (
    <Field label="Go on from" hint="repository/version, or a checkpoint; its rank and layers are kept." error={problem}>
      <Input
        name="continueFrom"
        list="adapters-to-go-on-from"
        placeholder="a fresh adapter"
        value={draft.continueFrom}
        onChange={(event) => choose(event.target.value.trim())}
      />
      <datalist id="adapters-to-go-on-from">
        {fitting.map((adapter) => (
          <option key={adapter.id} value={adapter.adapterId} />
        ))}
      </datalist>
    </Field>
  );
}
