"use client";
import { Button } from "@grove/ui/button";
import { Field, Input } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { HubDisabled } from "./hub-disabled";
import { emptyDraft, ImportFields, toInput } from "./import-fields";

type HubImportProps = { onBegun: (transferId: string) => void };

export function HubImport({ onBegun }: HubImportProps) {
  const trpc = useTRPC();
  const hub = useQuery(trpc.adapters.hub.queryOptions());
  return (
    <QueryView query={hub} what="the hub's settings">
      {({ endpoint }) => (endpoint === null ? <HubDisabled /> : <PullForm endpoint={endpoint} onBegun={onBegun} />)}
    </QueryView>
  );
}

function PullForm({ endpoint, onBegun }: HubImportProps & { endpoint: string }) {
  const trpc = useTRPC();
  const [draft, setDraft] = useState(emptyDraft);
  const [hub, setHub] = useState({ hubRepo: "", revision: "main", token: "" });
  const pull = useMutation(
    trpc.adapters.transfers.pull.mutationOptions({ onSuccess: (transfer) => onBegun(transfer.id) }),
  );
  const failure = pull.error === null ? null : failureOf(pull.error);
  const errorOf = (field: string) => (failure?.field === field ? failure.message : null);
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        const { token, ...where } = hub;
        pull.mutate({ ...where, ...toInput(draft), ...(token === "" ? {} : { token }) });
      }}
    >
      {failure === null || failure.field !== null ? null : <Notice tone="bad" title={failure.message} />}
      <div className="grid gap-4 md:grid-cols-2">
        <Field label="Repository on the hub" hint={`On ${new URL(endpoint).host}.`} error={errorOf("hubRepo")}>
          <Input
            required
            placeholder="owner/name"
            value={hub.hubRepo}
            onChange={(event) => setHub({ ...hub, hubRepo: event.target.value })}
          />
        </Field>
        <Field label="Revision" hint="A branch, a tag or a commit." error={errorOf("revision")}>
          <Input required value={hub.revision} onChange={(event) => setHub({ ...hub, revision: event.target.value })} />
        </Field>
      </div>
      <Field
        label="Your token there (optional)"
        hint="For a private repository; used for this pull alone."
        error={errorOf("token")}
      >
        <Input
          type="password"
          autoComplete="off"
          value={hub.token}
          onChange={(event) => setHub({ ...hub, token: event.target.value })}
        />
      </Field>
      <ImportFields draft={draft} errorOf={errorOf} onChange={setDraft} />
      <div className="flex justify-end">
        <Button type="submit" variant="primary" busy={pull.isPending}>
          Pull
        </Button>
      </div>
    </form>
  );
}
