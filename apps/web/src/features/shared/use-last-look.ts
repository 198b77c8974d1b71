"use client";
import { useEffect } from "react";

/** Polling ends with the run, and what came after its last tick would be missed: one more look when it ends. */
export function useLastLook(running: boolean, refetch: () => unknown): void {
  useEffect(() => {
    if (!running) void refetch();
  }, [running, refetch]);
}
