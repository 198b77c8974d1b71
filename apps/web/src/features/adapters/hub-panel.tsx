"use client";
import type { TransferView } from "@grove/contracts/transfers";
import { StatusBadge } from "@grove/ui/badge";
import { Button } from "@grove/ui/button";
import { Card, CardBody, CardHeader } from "@grove/ui/card";
import { Field, Input } from "@grove/ui/field";
import { LoadingRows, Notice } from "@grove/ui/states";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { QueryView } from "@/features/shared/query-view";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { isLive } from "./downloads";
import { HubDisabled } from "./hub-disabled";

const POLL_MS = 1_500;

/** To a repository of the hub that this installation names, and what became of it. */
export function HubPanel({ adapterId }: { adapterId: string }) {
  const trpc = useTRPC();
  const hub = useQuery(trpc.adapters.hub.queryOptions());
  return (
    <Card>
      <CardHeader title="Push to a hub" hint="The PEFT folder with its model card, as one commit" />
      <QueryView query={hub} what="the hub's settings">
        {({ endpoint }) =>
          endpoint === null ? (
            <CardBody>
              <HubDisabled />
            </CardBody>
          ) : (
            <>
              <CardBody>
                <PushForm adapterId={adapterId} endpoint={endpoint} />
              </CardBody>
              <Pushes adapterId={adapterId} />
            </>
          )
        }
      </QueryView>
    </Card>
  );
}

function PushForm({ adapterId, endpoint }: { adapterId: string; endpoint: string }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [hubRepo, setHubRepo] = useState("");
  const [token, setToken] = useState("");
  const [isPrivate, setPrivate] = useState(true);
  const push = useMutation(
    trpc.adapters.transfers.push.mutationOptions({
      onSuccess: () => setToken(""),
      onSettled: () => void queryClient.invalidateQueries(trpc.adapters.transfers.list.queryFilter()),
    }),
  );
  const failure = push.error === null ? null : failureOf(push.error);
  const errorOf = (field: string) => (failure?.field === field ? failure.message : null);
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        push.mutate({ adapterId, hubRepo, token, private: isPrivate });
      }}
    >
      {failure === null || failure.field !== null ? null : <Notice tone="bad" title={failure.message} />}
      <div className="grid gap-4 md:grid-cols-2">
        <Field
          label="Repository"
          hint={`On ${new URL(endpoint).host}. It is made if it does not exist.`}
          error={errorOf("hubRepo")}
        >
          <Input
            required
            placeholder="owner/name"
            value={hubRepo}
            onChange={(event) => setHubRepo(event.target.value)}
          />
        </Field>
        <Field
          label="Your token there"
          hint="Used for this push alone, and kept by nobody afterwards."
          error={errorOf("token")}
        >
          <Input
            required
            type="password"
            autoComplete="off"
            value={token}
            onChange={(event) => setToken(event.target.value)}
          />
        </Field>
      </div>
      <div className="flex flex-wrap items-center justify-between gap-4">
        <label className="flex cursor-pointer items-center gap-2 text-sm">
          <input type="checkbox" checked={isPrivate} onChange={(event) => setPrivate(event.target.checked)} />
          Private, if the repository is new
        </label>
        <Button type="submit" variant="primary" busy={push.isPending}>
          Push
        </Button>
      </div>
    </form>
  );
}

function Pushes({ adapterId }: { adapterId: string }) {
  const trpc = useTRPC();
  const list = useQuery(
    trpc.adapters.transfers.list.queryOptions(
      { adapterId, limit: 20 },
      {
        select: (page) => page.items.filter((item) => item.kind === "push"),
        refetchInterval: ({ state }) => (state.data?.items.some(isLive) === true ? POLL_MS : false),
      },
    ),
  );
  return (
    <QueryView
      query={list}
      what="its pushes"
      loading={<LoadingRows rows={1} />}
      isEmpty={(items) => items.length === 0}
      empty={null}
    >
      {(items) => (
        <ul className="divide-y divide-line border-t border-line">
          {items.map((item) => (
            <Push key={item.id} push={item} />
          ))}
        </ul>
      )}
    </QueryView>
  );
}

function Push({ push }: { push: TransferView }) {
  return (
    <li className="flex flex-wrap items-center justify-between gap-x-6 gap-y-1 px-5 py-3 text-sm">
      <span className="min-w-0">
        {push.result === null ? (
          push.hubRepo
        ) : (
          <a href={push.result.url} target="_blank" rel="noreferrer" className="text-link">
            {push.hubRepo}
          </a>
        )}
        <span className="block text-xs text-muted">
          {push.result === null ? (
            <TimeAgo date={push.createdAt} />
          ) : (
            <>
              <TimeAgo date={push.createdAt} /> · commit {push.result.commit.slice(0, 12)}
            </>
          )}
        </span>
        {push.message === null ? null : <span className="block text-[13px] text-danger-text">{push.message}</span>}
      </span>
      <StatusBadge status={push.status} />
    </li>
  );
}
