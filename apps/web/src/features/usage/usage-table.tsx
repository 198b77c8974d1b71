import type { UsageRow } from "@grove/contracts/usage";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { count, duration, money } from "@/features/shared/format";

const sources: Record<string, string> = {
  training: "Training",
  api: "API",
  playground: "Playground",
  evaluation: "Evaluation",
};

export function UsageTable({ rows, total }: { rows: UsageRow[]; total: bigint }) {
  return (
    <Table
      label="Usage by day and adapter"
      head={
        <>
          <Th>Day</Th>
          <Th>Adapter</Th>
          <Th>From</Th>
          <Th align="right">Requests</Th>
          <Th align="right">Prompt tokens</Th>
          <Th align="right">Completion tokens</Th>
          <Th align="right">Training tokens</Th>
          <Th align="right">Training time</Th>
          <Th align="right">Cost</Th>
        </>
      }
    >
      {rows.map((row) => (
        <Tr key={`${row.day} ${row.kind} ${row.source} ${row.adapterId ?? ""}`}>
          <Td tone="muted">{row.day}</Td>
          <Td>
            {row.adapterId ?? (
              <span className="text-muted">{row.kind === "training" ? "none was made" : "base model"}</span>
            )}
          </Td>
          <Td tone="muted">{sources[row.source] ?? row.source}</Td>
          <Td align="right">{count(row.requests)}</Td>
          <Td align="right">{row.promptTokens === 0 ? "–" : count(row.promptTokens)}</Td>
          <Td align="right">{row.completionTokens === 0 ? "–" : count(row.completionTokens)}</Td>
          <Td align="right">{row.trainTokens === 0 ? "–" : count(row.trainTokens)}</Td>
          <Td align="right">{row.trainSeconds === 0 ? "–" : duration(row.trainSeconds)}</Td>
          <Td align="right">{money(row.costMicroUsd)}</Td>
        </Tr>
      ))}
      <tr className="bg-sunken/60 font-medium">
        <td className="px-5 py-3" colSpan={8}>
          Total
        </td>
        <td className="px-5 py-3 text-right tabular-nums" data-testid="usage-total">
          {money(total)}
        </td>
      </tr>
    </Table>
  );
}
