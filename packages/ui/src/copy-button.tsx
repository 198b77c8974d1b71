"use client";
import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "./button.tsx";

type CopyButtonProps = { text: string; label: string; look: "icon" | "button" };

/** `navigator.clipboard` is missing on plain http outside localhost: then the old way, by a hidden text area. */
async function copy(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => copyBySelection(text),
    );
  }
  return copyBySelection(text);
}

function copyBySelection(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

export function CopyButton({ text, label, look }: CopyButtonProps) {
  const [state, setState] = useState<"idle" | "copied" | "refused">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 1800);
    return () => clearTimeout(timer);
  }, [state]);
  const icon = state === "copied" ? <Check /> : <Copy />;
  const said = state === "copied" ? "Copied" : state === "refused" ? "Select it by hand" : label;
  const onClick = async () => setState((await copy(text)) ? "copied" : "refused");
  return look === "icon" ? (
    <Button variant="ghost" size="icon" aria-label={said} title={said} onClick={onClick}>
      {icon}
    </Button>
  ) : (
    <Button size="sm" aria-label={said} onClick={onClick}>
      {icon}
      <span aria-live="polite">
        {state === "copied" ? "Copied" : state === "refused" ? "Select it by hand" : "Copy"}
      </span>
    </Button>
  );
}

type CodeBlockProps = { code: string; label: string };

export function CodeBlock({ code, label }: CodeBlockProps) {
  return (
    <div className="group relative overflow-hidden rounded-lg border border-line bg-sunken">
      <section
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reached by keyboard
        tabIndex={0}
        aria-label={label}
        className="overflow-x-auto outline-none focus-visible:ring-2 focus-visible:ring-accent/40 focus-visible:ring-inset"
      >
        <pre className="p-4 pr-14 font-mono text-[13px] leading-relaxed text-ink">{code}</pre>
      </section>
      <div className="absolute top-2 right-2">
        <CopyButton text={code} label={`Copy ${label}`} look="icon" />
      </div>
    </div>
  );
}
