import type { ServedAdaptersView, ServedAdapterView } from "@grove/contracts/serving";
import { Badge } from "@grove/ui/badge";
import { EmptyState } from "@grove/ui/states";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { Layers } from "lucide-react";
import Link from "next/link";
import { bytes, count, shortHash } from "@/features/shared/format";
import { TimeAgo } from "@/features/shared/time";

const states = {
  resident: { label: "resident", tone: "good" },
  ready: { label: "in memory", tone: "info" },
  fetching: { label: "loading", tone: "warn" },
  evicted: { label: "on disk", tone: "neutral" },
  failed: { label: "failed", tone: "bad" },
} as const;
const order = ["resident", "ready", "fetching", "failed", "evicted"];

/** Which adapters the model server holds. Figures that it does not tell are dashes. */
export function ServedAdapters({ view }: { view: ServedAdaptersView }) {
  if (view.adapters === null) {
    return (
      <EmptyState icon={<Layers />} title="This model server does not tell">
        {view.server === "lorax" ? "LoRAX" : "An OpenAI-compatible server"} loads adapters by itself and lists none.
      </EmptyState>
    );
  }
  if (view.adapters.length === 0) {
    return (
      <EmptyState icon={<Layers />} title="None asked for yet">
        An adapter is loaded by its first prompt, and stays while there is room.
      </EmptyState>
    );
  }
  const rows = view.adapters.toSorted(byStateAndUse);
  return (
    <Table
      label="Adapters in the model server"
      head={
        <>
          <Th>Adapter</Th>
          <Th>State</Th>
          <Th align="right">Rank</Th>
          <Th align="right">In memory</Th>
          <Th align="right">Requests</Th>
          <Th>Last use</Th>
        </>
      }
    >
      {rows.map((row) => (
        <Row key={`${row.adapterId} ${row.sha256}`} row={row} />
      ))}
    </Table>
  );
}

function Row({ row }: { row: ServedAdapterView }) {
  const state = states[row.state];
  return (
    <Tr>
      <Td>
        <Link href={`/adapters/${row.adapterId.split("/")[0]}`} className="text-link font-mono text-[13px]">
          {row.adapterId}
        </Link>{" "}
        <span className="font-mono text-xs text-faint">{shortHash(row.sha256)}</span>
      </Td>
      <Td>
        <Badge tone={state.tone}>{state.label}</Badge>
        {row.error === null ? null : <span className="ml-2 text-xs text-danger-text">{row.error}</span>}
      </Td>
      <Td align="right">{row.rank === null ? "–" : count(row.rank)}</Td>
      <Td align="right">{row.bytes === null ? "–" : bytes(row.bytes)}</Td>
      <Td align="right">{row.hits === null ? "–" : count(row.hits)}</Td>
      <Td tone="muted">{row.lastUse === null ? "–" : <TimeAgo date={row.lastUse} />}</Td>
    </Tr>
  );
}

function byStateAndUse(a: ServedAdapterView, b: ServedAdapterView): number {
  const byState = order.indexOf(a.state) - order.indexOf(b.state);
  return byState || (b.lastUse?.getTime() ?? 0) - (a.lastUse?.getTime() ?? 0);
}
