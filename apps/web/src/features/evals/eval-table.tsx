"use client";
import type { EvalView } from "@grove/contracts/evals";
import { StatusBadge } from "@grove/ui/badge";
import { ProgressBar } from "@grove/ui/progress";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import Link from "next/link";
import { Lift } from "@/features/adapters/lift";
import { count, percent } from "@/features/shared/format";
import { TimeAgo } from "@/features/shared/time";
import { metricName } from "./metric-name";

export function isRunningEval(item: Pick<EvalView, "status">): boolean {
  return item.status === "queued" || item.status === "running";
}

export function EvalTable({ evals }: { evals: EvalView[] }) {
  return (
    <Table
      label="Evaluations"
      head={
        <>
          <Th>Adapter</Th>
          <Th>Status</Th>
          <Th>Data</Th>
          <Th>Metric</Th>
          <Th align="right">Fine-tuned</Th>
          <Th align="right">Base</Th>
          <Th align="right">Difference</Th>
          <Th align="right">Started</Th>
        </>
      }
    >
      {evals.map((item) => (
        <Tr key={item.id}>
          <Td>
            <Link href={`/evals/${item.id}`} className="row-link">
              {item.adapterId}
            </Link>
          </Td>
          <Td>
            <span className="flex items-center gap-3">
              <StatusBadge status={item.status} />
              {item.status === "running" ? (
                <span className="w-16">
                  <ProgressBar
                    fraction={item.done / Math.max(1, item.rows)}
                    label={`Progress of the evaluation of ${item.adapterId}`}
                  />
                </span>
              ) : null}
            </span>
          </Td>
          <Td tone="muted">
            {item.dataset.name}, {count(item.rows)} {item.split} rows
          </Td>
          <Td tone="muted">{metricName(item.metric)}</Td>
          <Td align="right">{item.summary === null ? "–" : percent(item.summary.adapter.score)}</Td>
          <Td align="right" tone="muted">
            {item.summary === null ? "–" : percent(item.summary.base.score)}
          </Td>
          <Td align="right">
            {item.summary === null ? (
              "–"
            ) : (
              <Lift result={{ adapterScore: item.summary.adapter.score, baseScore: item.summary.base.score }} />
            )}
          </Td>
          <Td align="right" tone="muted">
            <TimeAgo date={item.createdAt} />
          </Td>
        </Tr>
      ))}
    </Table>
  );
}
