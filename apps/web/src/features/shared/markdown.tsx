import { type Block, parseMarkdown } from "./markdown-blocks";
import { numbered } from "./numbered";

export function Markdown({ text }: { text: string }) {
  return (
    <div className="flex flex-col gap-3.5 text-sm leading-relaxed text-ink">
      {numbered(parseMarkdown(text)).map(({ key, item }) => (
        <BlockView key={key} block={item} />
      ))}
    </div>
  );
}

function BlockView({ block }: { block: Block }) {
  switch (block.kind) {
    case "heading":
      return block.level === 1 ? (
        <h3 className="text-lg font-semibold tracking-tight">{block.text}</h3>
      ) : (
        <h4 className="mt-2 text-[15px] font-semibold">{block.text}</h4>
      );
    case "code":
      return (
        <pre className="overflow-x-auto rounded-lg border border-line bg-sunken p-3.5 font-mono text-[12.5px] leading-relaxed whitespace-pre-wrap">
          {block.text}
        </pre>
      );
    case "list":
      return (
        <ul className="list-disc space-y-1 pl-5 marker:text-faint">
          {numbered(block.items).map(({ key, item }) => (
            <li key={key}>
              <Inline text={item} />
            </li>
          ))}
        </ul>
      );
    case "table":
      return <TableView rows={block.rows} />;
    case "paragraph":
      return (
        <p>
          <Inline text={block.text} />
        </p>
      );
  }
}

function TableView({ rows }: { rows: string[][] }) {
  const [head = [], ...body] = rows;
  return (
    <div className="overflow-x-auto">
      <table className="text-left text-[13px]">
        <thead className="text-muted">
          <tr>
            {numbered(head).map(({ key, item: cell }) => (
              <th key={key} scope="col" className="border-b border-line py-1.5 pr-6 font-medium">
                <Inline text={cell} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="divide-y divide-line">
          {numbered(body).map(({ key, item: row }) => (
            <tr key={key}>
              {numbered(row).map(({ key: column, item: cell }) => (
                <td key={column} className="py-1.5 pr-6 tabular-nums">
                  <Inline text={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Inline({ text }: { text: string }) {
  return numbered(text.split(/(`[^`]+`|\*\*[^*]+\*\*)/)).map(({ key, item: piece }) => {
    if (piece.startsWith("`") && piece.length > 2) {
      return (
        <code key={key} className="rounded bg-sunken px-1 py-0.5 font-mono text-[0.9em]">
          {piece.slice(1, -1)}
        </code>
      );
    }
    if (piece.startsWith("**") && piece.length > 4) return <strong key={key}>{piece.slice(2, -2)}</strong>;
    return piece;
  });
}
