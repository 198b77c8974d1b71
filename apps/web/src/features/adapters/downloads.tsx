"use client";
import { type ExportKind, type ExportView, exportKinds, liveTransferStatuses } from "@grove/contracts/transfers";
import { StatusBadge } from "@grove/ui/badge";
import { Button, buttonStyles } from "@grove/ui/button";
import { Card, CardHeader } from "@grove/ui/card";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Download, Trash2 } from "lucide-react";
import type { ReactNode } from "react";
import { failureOf } from "@/features/shared/failure";
import { bytes as sizeOf } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";

const POLL_MS = 1_500;
const about: Record<ExportKind, { title: string; hint: string }> = {
  gguf: {
    title: "GGUF LoRA file",
    hint: "For llama.cpp and what builds on it, beside their own file of the base model.",
  },
  merged: {
    title: "Merged model",
    hint: "The base model with this adapter in its weights: a folder that transformers loads. As large as the base.",
  },
};

export function isLive({ status }: { status: ExportView["status"] }): boolean {
  return liveTransferStatuses.includes(status);
}

/** The version in three forms; two of them are made when somebody first asks. */
export function Downloads({ adapterId, bytes }: { adapterId: string; bytes: number }) {
  const trpc = useTRPC();
  const exports = useQuery(
    trpc.adapters.exports.list.queryOptions(
      { adapterId },
      { refetchInterval: ({ state }) => (state.data?.some(isLive) === true ? POLL_MS : false) },
    ),
  );
  return (
    <Card>
      <CardHeader
        title="Download"
        hint="With a model card that tells the task, the data and the scores as they are now"
      />
      <QueryView query={exports} what="the downloads">
        {(made) => (
          <ul className="divide-y divide-line">
            <Row title="PEFT folder" hint={`Configuration, weights, card and manifest as a zip, ${sizeOf(bytes)}.`}>
              <DownloadLink adapterId={adapterId} format="peft" />
            </Row>
            {exportKinds.map((kind) => (
              <ExportRow key={kind} adapterId={adapterId} kind={kind} made={made.find((one) => one.kind === kind)} />
            ))}
          </ul>
        )}
      </QueryView>
    </Card>
  );
}

type ExportRowProps = { adapterId: string; kind: ExportKind; made: ExportView | undefined };

function ExportRow({ adapterId, kind, made }: ExportRowProps) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const onSettled = () => void queryClient.invalidateQueries(trpc.adapters.exports.list.queryFilter({ adapterId }));
  const create = useMutation(trpc.adapters.exports.create.mutationOptions({ onSettled }));
  const remove = useMutation(trpc.adapters.exports.delete.mutationOptions({ onSettled }));
  const error = create.error ?? remove.error;
  const problem = error === null ? (made?.message ?? null) : failureOf(error).message;
  const size = made?.status === "ready" && made.bytes !== null ? ` ${sizeOf(made.bytes)}.` : "";
  return (
    <Row title={about[kind].title} hint={`${about[kind].hint}${size}`} problem={problem}>
      {made === undefined || made.status === "failed" ? (
        <Button busy={create.isPending} onClick={() => create.mutate({ adapterId, kind })}>
          {made === undefined ? "Make it" : "Try again"}
        </Button>
      ) : made.status === "ready" ? (
        <>
          <Button
            variant="ghost"
            size="icon"
            aria-label={`Delete the ${about[kind].title}`}
            busy={remove.isPending}
            onClick={() => remove.mutate({ adapterId, kind })}
          >
            <Trash2 />
          </Button>
          <DownloadLink adapterId={adapterId} format={kind} />
        </>
      ) : (
        <StatusBadge status={made.status} />
      )}
    </Row>
  );
}

function DownloadLink({ adapterId, format }: { adapterId: string; format: ExportKind | "peft" }) {
  return (
    <a href={`/api/adapters/${adapterId}/download?format=${format}`} download className={buttonStyles()}>
      <Download /> Download
    </a>
  );
}

type RowProps = { title: string; hint: string; problem?: string | null; children: ReactNode };

function Row({ title, hint, problem = null, children }: RowProps) {
  return (
    <li className="flex flex-wrap items-center justify-between gap-x-6 gap-y-3 px-5 py-4">
      <div className="min-w-0 flex-1 basis-64">
        <p className="text-sm font-medium">{title}</p>
        <p className="mt-0.5 text-[13px] text-muted">{hint}</p>
        {problem === null ? null : (
          <p role="alert" className="mt-1 text-[13px] text-danger-text">
            {problem}
          </p>
        )}
      </div>
      <div className="flex items-center gap-1">{children}</div>
    </li>
  );
}
