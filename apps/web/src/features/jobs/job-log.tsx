"use client";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { QueryView } from "@/features/shared/query-view";
import { useTRPC } from "@/features/shared/trpc";
import { useLastLook } from "@/features/shared/use-last-look";

export function JobLog({ jobId, running }: { jobId: string; running: boolean }) {
  const trpc = useTRPC();
  const log = useQuery(trpc.jobs.log.queryOptions({ id: jobId }, { refetchInterval: running ? 2_000 : false }));
  useLastLook(running, log.refetch);
  return (
    <QueryView
      query={log}
      what="the log"
      isEmpty={(text) => text.trim() === ""}
      empty={
        <p className="py-8 text-center text-sm text-muted">
          {running ? "Nothing has been logged yet." : "The trainer had nothing to say: no warning, no error."}
        </p>
      }
    >
      {(text) => <LogText text={text} />}
    </QueryView>
  );
}

/** Stays at the end while lines come, unless the reader has scrolled up. */
function LogText({ text }: { text: string }) {
  const box = useRef<HTMLElement>(null);
  const atEnd = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new text is the reason to scroll
  useEffect(() => {
    if (atEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [text]);
  return (
    <section
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls must be reached by keyboard
      tabIndex={0}
      aria-label="Log"
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
      className="max-h-96 overflow-auto outline-none focus-visible:ring-2 focus-visible:ring-accent/40"
    >
      <pre className="font-mono text-[12.5px] leading-5 break-words whitespace-pre-wrap text-muted">{text}</pre>
    </section>
  );
}
