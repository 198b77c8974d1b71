"use client";
import type { CreatedToken } from "@grove/contracts/accounts";
import { Button } from "@grove/ui/button";
import { CopyButton } from "@grove/ui/copy-button";
import { Field, Input } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { useTRPC } from "@/features/shared/trpc";

type NewTokenProps = { suggestedName: string; onCreated: (token: CreatedToken) => void };

export function NewTokenForm({ suggestedName, onCreated }: NewTokenProps) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [name, setName] = useState(suggestedName);
  const create = useMutation(
    trpc.accounts.tokens.create.mutationOptions({
      onSuccess: (token) => {
        onCreated(token);
        void queryClient.invalidateQueries(trpc.accounts.tokens.list.queryFilter());
      },
    }),
  );
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate({ name });
  };
  return (
    <form onSubmit={onSubmit} className="flex flex-wrap items-end gap-3">
      <div className="min-w-48 flex-1">
        <Field label="Name of the token" error={create.error === null ? null : failureOf(create.error).message}>
          <Input
            name="tokenName"
            required
            maxLength={120}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        </Field>
      </div>
      <Button type="submit" variant="primary" busy={create.isPending}>
        Make token
      </Button>
    </form>
  );
}

/** The one time that the whole token is in view. */
export function ShownOnce({ token }: { token: CreatedToken }) {
  return (
    <Notice tone="good" title="Copy this token now. It is not shown again.">
      <div className="mt-2 flex items-center gap-2">
        <code
          data-testid="new-token"
          className="min-w-0 flex-1 truncate rounded-md bg-surface px-2.5 py-2 font-mono text-[13px] text-ink ring-1 ring-line ring-inset"
        >
          {token.token}
        </code>
        <CopyButton text={token.token} label="Copy the token" look="button" />
      </div>
    </Notice>
  );
}
