import { numbered } from "./numbered";

/** For showing a template only, never for rendering one: `{column}` apart from the text around it; `{{` and `}}` are braces. */
export function templateParts(template: string): { text: string; column: string | null }[] {
  const parts: { text: string; column: string | null }[] = [];
  for (const piece of template.split(/(\{\{|\}\}|\{[^{}]+\})/)) {
    if (piece === "") continue;
    const column = piece.length > 2 && piece.startsWith("{") && piece.endsWith("}") ? piece.slice(1, -1).trim() : null;
    parts.push({ text: piece === "{{" ? "{" : piece === "}}" ? "}" : piece, column });
  }
  return parts;
}

export function templateColumns(template: string): string[] {
  return [...new Set(templateParts(template).flatMap((part) => (part.column === null ? [] : [part.column])))];
}

export function TemplateText({ template }: { template: string }) {
  return (
    <pre className="font-mono text-[13px] leading-relaxed break-words whitespace-pre-wrap text-ink">
      {numbered(templateParts(template)).map(({ key, item: part }) =>
        part.column === null ? (
          part.text
        ) : (
          <span key={key} className="rounded bg-accent-soft px-1 py-0.5 text-accent-text">
            {part.text}
          </span>
        ),
      )}
    </pre>
  );
}
