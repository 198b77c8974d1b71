import type { ColumnProfile, DatasetProfile } from "@grove/contracts/datasets";
import { Card } from "@grove/ui/card";
import { numbered } from "@/features/shared/numbered";

/** The first rows as they are; long cells scroll within themselves. */
export function SampleTable({ columns, samples }: { columns: ColumnProfile[]; samples: DatasetProfile["samples"] }) {
  return (
    <Card>
      <div className="max-h-[34rem] overflow-auto">
        <table aria-label="First rows" className="w-full border-collapse text-[13px]">
          <thead className="sticky top-0 z-10 bg-sunken text-left text-xs text-muted">
            <tr>
              <th scope="col" className="w-10 border-b border-line px-4 py-2.5 text-right font-medium">
                #
              </th>
              {columns.map((column) => (
                <th
                  key={column.name}
                  scope="col"
                  className="border-b border-line px-4 py-2.5 font-mono font-medium whitespace-nowrap"
                >
                  {column.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="divide-y divide-line">
            {numbered(samples).map(({ key, item: sample }) => (
              <tr key={key} className="align-top">
                <td className="px-4 py-2.5 text-right text-faint tabular-nums">{Number(key) + 1}</td>
                {columns.map((column) => (
                  <td key={column.name} className="max-w-md min-w-32 px-4 py-2.5">
                    <div className="max-h-28 overflow-y-auto break-words whitespace-pre-wrap">
                      {sample[column.name] === "" || sample[column.name] === undefined ? (
                        <span className="text-faint">empty</span>
                      ) : (
                        sample[column.name]
                      )}
                    </div>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
