"use client";
import type { CheckpointView } from "@grove/contracts/adapters";
import { isServed } from "@grove/contracts/jobs";
import { Button } from "@grove/ui/button";
import { Card } from "@grove/ui/card";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { useQuery } from "@tanstack/react-query";
import { GitCommitHorizontal } from "lucide-react";
import { useState } from "react";
import { metricName } from "@/features/evals/metric-name";
import { Comparison } from "@/features/lora-land/comparison";
import { bytes, count, percent, plural } from "@/features/shared/format";
import { QueryView } from "@/features/shared/query-view";
import { TimeAgo } from "@/features/shared/time";
import { useTRPC } from "@/features/shared/trpc";
import { useLastLook } from "@/features/shared/use-last-look";
import { ScoreChart } from "./loss-chart";

/** What the job has learnt so far, to be asked while it goes on. */
export function JobCheckpoints({ jobId, running }: { jobId: string; running: boolean }) {
  const trpc = useTRPC();
  const [tried, setTried] = useState<CheckpointView | null>(null);
  const checkpoints = useQuery(
    trpc.jobs.checkpoints.queryOptions({ id: jobId }, { refetchInterval: running ? 2_000 : false }),
  );
  useLastLook(running, checkpoints.refetch);
  return (
    <div className="flex flex-col gap-6">
      <Card>
        <QueryView
          query={checkpoints}
          what="the checkpoints"
          isEmpty={(items) => items.length === 0}
          empty={
            <EmptyState icon={<GitCommitHorizontal />} title="No checkpoint yet">
              About eight times a run the adapter is saved as it stands, and answers under a name of its own while the
              training goes on.
            </EmptyState>
          }
        >
          {(items) => (
            <>
              <Scores checkpoints={items} />
              <CheckpointTable checkpoints={items} tried={tried} onTry={setTried} />
            </>
          )}
        </QueryView>
      </Card>
      {tried === null ? null : <Comparison key={tried.id} adapter={tried} />}
    </div>
  );
}

function Scores({ checkpoints }: { checkpoints: CheckpointView[] }) {
  const points = checkpoints
    .flatMap(({ step, score }) => (score === null ? [] : [{ step, score: score.value }]))
    .sort((a, b) => a.step - b.step);
  const scored = checkpoints.find((checkpoint) => checkpoint.score !== null);
  if (points.length < 2 || !scored?.score) return null;
  return (
    <div className="border-b border-line px-3 py-3">
      <p className="px-2 pb-1 text-[13px] text-muted">
        {metricName(scored.score.metric)} on the first{" "}
        {plural(scored.config.hyperparameters.scoreRows, "validation row")}
      </p>
      <ScoreChart points={points} />
    </div>
  );
}

type TableProps = {
  checkpoints: CheckpointView[];
  tried: CheckpointView | null;
  onTry: (checkpoint: CheckpointView) => void;
};

function CheckpointTable({ checkpoints, tried, onTry }: TableProps) {
  return (
    <Table
      label="Checkpoints"
      head={
        <>
          <Th>Step</Th>
          <Th>Adapter id</Th>
          <Th align="right">Score</Th>
          <Th align="right">Size</Th>
          <Th align="right">Saved</Th>
          <Th />
        </>
      }
    >
      {checkpoints.map((checkpoint) => (
        <Tr key={checkpoint.id}>
          <Td>{count(checkpoint.step)}</Td>
          <Td>
            <code className="font-mono text-[13px]">{checkpoint.adapterId}</code>
          </Td>
          <Td align="right">
            {checkpoint.score === null
              ? "–"
              : `${percent(checkpoint.score.value)} ${metricName(checkpoint.score.metric)}`}
          </Td>
          <Td align="right" tone="muted">
            {bytes(checkpoint.bytes)}
          </Td>
          <Td align="right" tone="muted">
            <TimeAgo date={checkpoint.createdAt} />
          </Td>
          <Td align="right">
            {isServed(checkpoint.config) ? (
              <Button size="sm" disabled={checkpoint.id === tried?.id} onClick={() => onTry(checkpoint)}>
                Try it
              </Button>
            ) : null}
          </Td>
        </Tr>
      ))}
    </Table>
  );
}
