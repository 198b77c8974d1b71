import type { ColumnProfile } from "@grove/contracts/datasets";
import { Card } from "@grove/ui/card";
import { Table, Td, Th, Tr } from "@grove/ui/table";
import { count, percent } from "@/features/shared/format";

export function ColumnTable({ rows, columns }: { rows: number; columns: ColumnProfile[] }) {
  return (
    <Card>
      <Table
        label="Columns"
        head={
          <>
            <Th>Column</Th>
            <Th>Type</Th>
            <Th align="right">Empty</Th>
            <Th align="right">Distinct</Th>
            <Th align="right">Longest</Th>
            <Th>Most frequent values</Th>
          </>
        }
      >
        {columns.map((column) => (
          <Tr key={column.name}>
            <Td>
              <span className="font-mono text-[13px]">{column.name}</span>
            </Td>
            <Td tone="muted">{column.type}</Td>
            <Td align="right" tone={column.empty === 0 ? "muted" : "ink"}>
              {column.empty === 0 ? "0" : `${count(column.empty)} (${percent(column.empty / Math.max(1, rows))})`}
            </Td>
            <Td align="right">{count(column.distinct)}</Td>
            <Td align="right" tone="muted">
              {count(column.maxCharacters)} chars
            </Td>
            <Td>
              <TopValues rows={rows} values={column.topValues} />
            </Td>
          </Tr>
        ))}
      </Table>
    </Card>
  );
}

function TopValues({ rows, values }: { rows: number; values: ColumnProfile["topValues"] }) {
  if (values.length === 0) return <span className="text-faint">Free text</span>;
  const shown = values.slice(0, 4);
  return (
    <span className="flex items-center gap-1.5">
      {shown.map((entry) => (
        <span
          key={entry.value}
          className="max-w-40 truncate rounded-md bg-sunken px-1.5 py-0.5 text-xs ring-1 ring-line ring-inset"
          title={`${entry.value}: ${count(entry.count)} rows`}
        >
          {entry.value === "" ? "(empty)" : entry.value}{" "}
          <span className="text-faint">{percent(entry.count / Math.max(1, rows))}</span>
        </span>
      ))}
      {values.length > shown.length ? (
        <span className="text-xs text-faint">+{values.length - shown.length}</span>
      ) : null}
    </span>
  );
}
