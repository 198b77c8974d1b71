"use client";
import type { Generated, PlaygroundInput } from "@grove/contracts/serving";
import { TRPCClientError } from "@trpc/client";
import { useRef, useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { useTRPCClient } from "@/features/shared/trpc";

export type Answer =
  | { state: "idle" }
  | { state: "running"; text: string; pieces: number; startedAt: number }
  | { state: "done"; text: string; result: Generated }
  | { state: "stopped"; text: string }
  | { state: "failed"; text: string; message: string };
export type Side = PlaygroundInput["side"];
type Question = Omit<PlaygroundInput, "side">;

function messageOf(error: unknown): string {
  return failureOf(error instanceof TRPCClientError ? error : { data: undefined }).message;
}

/** Asks both sides at once; each streams into its own answer. */
export function useRun() {
  const client = useTRPCClient();
  const [answers, setAnswers] = useState<Record<Side, Answer>>({ adapter: { state: "idle" }, base: { state: "idle" } });
  const abort = useRef<AbortController | null>(null);
  const set = (side: Side, next: Answer) => setAnswers((before) => ({ ...before, [side]: next }));

  async function ask(side: Side, question: Question, signal: AbortSignal): Promise<void> {
    let text = "";
    let pieces = 0;
    const startedAt = performance.now();
    set(side, { state: "running", text, pieces, startedAt });
    try {
      for await (const chunk of await client.serving.playground.mutate({ ...question, side }, { signal })) {
        if (signal.aborted) break;
        if (chunk.type === "error") return set(side, { state: "failed", text, message: chunk.message });
        if (chunk.type === "done") return set(side, { state: "done", text: chunk.result.text, result: chunk.result });
        text += chunk.text;
        pieces += 1;
        set(side, { state: "running", text, pieces, startedAt });
      }
      set(
        side,
        signal.aborted
          ? { state: "stopped", text }
          : { state: "failed", text, message: "The answer broke off before its end. Run it again." },
      );
    } catch (error) {
      set(side, signal.aborted ? { state: "stopped", text } : { state: "failed", text, message: messageOf(error) });
    }
  }

  return {
    answers,
    isRunning: answers.adapter.state === "running" || answers.base.state === "running",
    run: (question: Question) => {
      abort.current?.abort();
      const controller = new AbortController();
      abort.current = controller;
      void ask("adapter", question, controller.signal);
      void ask("base", question, controller.signal);
    },
    stop: () => abort.current?.abort(),
  };
}
