"use client";
import type { CreatedToken, TokenView } from "@grove/contracts/accounts";
import { StatusBadge } from "@grove/ui/badge";
import { Button } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { ConfirmDialog } from "@grove/ui/dialog";
import { Page, PageHeader } from "@grove/ui/page";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { QueryView } from "@/features/shared/query-view";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { NewTokenForm, ShownOnce } from "./new-token";

export function TokensPage() {
  const trpc = useTRPC();
  const tokens = useQuery(trpc.accounts.tokens.list.queryOptions());
  const [made, setMade] = useState<CreatedToken | null>(null);
  return (
    <Page>
      <PageHeader
        title="API tokens"
        description="Programs use them to call your adapters. Only a hash is kept, so a lost token can't be read again: make another."
      />
      <Card>
        <CardHeader title="New token" />
        <CardBody>
          <div className="flex flex-col gap-4">
            <NewTokenForm suggestedName="" onCreated={setMade} />
            {made === null ? null : <ShownOnce token={made} />}
          </div>
        </CardBody>
      </Card>
      <Card>
        <QueryView
          query={tokens}
          what="your tokens"
          isEmpty={(items) => items.length === 0}
          empty={
            <EmptyState icon={<KeyRound />} title="No tokens yet">
              Give one a name that says where it will be used, for example “support bot”, and make it above.
            </EmptyState>
          }
        >
          {(items) => <TokenTable tokens={items} />}
        </QueryView>
      </Card>
    </Page>
  );
}

function TokenTable({ tokens }: { tokens: TokenView[] }) {
  return (
    <Table
      label="API tokens"
      head={
        <>
          <Th>Name</Th>
          <Th>Token</Th>
          <Th>Status</Th>
          <Th align="right">Last used</Th>
          <Th align="right">Made</Th>
          <Th />
        </>
      }
    >
      {tokens.map((token) => (
        <Tr key={token.id}>
          <Td>
            <span className="font-medium">{token.name}</span>
          </Td>
          <Td tone="muted">
            <code className="font-mono text-[13px]">{token.prefix}…</code>
          </Td>
          <Td>
            <StatusBadge status={token.revokedAt === null ? "active" : "revoked"} />
          </Td>
          <Td align="right" tone="muted">
            {token.lastUsedAt === null ? "never" : <TimeAgo date={token.lastUsedAt} />}
          </Td>
          <Td align="right" tone="muted">
            <TimeAgo date={token.createdAt} />
          </Td>
          <Td align="right">{token.revokedAt === null ? <RevokeToken token={token} /> : null}</Td>
        </Tr>
      ))}
    </Table>
  );
}

function RevokeToken({ token }: { token: TokenView }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [open, setOpen] = useState(false);
  const revoke = useMutation(
    trpc.accounts.tokens.revoke.mutationOptions({
      onSuccess: async () => {
        await queryClient.invalidateQueries(trpc.accounts.tokens.list.queryFilter());
        setOpen(false);
      },
    }),
  );
  return (
    <>
      <Button size="sm" aria-label={`Revoke ${token.name}`} onClick={() => setOpen(true)}>
        Revoke
      </Button>
      <ConfirmDialog
        open={open}
        onOpenChange={setOpen}
        title={`Revoke “${token.name}”?`}
        description="Programs that use it are refused from the next request on. This can't be undone."
        action="Revoke token"
        busy={revoke.isPending}
        error={revoke.error === null ? null : failureOf(revoke.error).message}
        onConfirm={() => revoke.mutate({ id: token.id })}
      />
    </>
  );
}
