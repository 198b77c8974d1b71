"use client";
import type { JobView } from "@grove/contracts/jobs";
import { Button } from "@grove/ui/button";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Pause, Play } from "lucide-react";
import { useTRPC } from "@/features/shared/trpc";

/** Stops the clock of a training job and lets it go on; nothing is lost by it. */
export function PauseJob({ job }: { job: Pick<JobView, "id" | "paused" | "status" | "cancelRequested"> }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const onSettled = () => void queryClient.invalidateQueries(trpc.jobs.get.queryFilter({ id: job.id }));
  const pause = useMutation(trpc.jobs.pause.mutationOptions({ onSettled }));
  const resume = useMutation(trpc.jobs.resume.mutationOptions({ onSettled }));
  if (job.status !== "training" || job.cancelRequested) return null;
  return job.paused ? (
    <Button variant="primary" busy={resume.isPending} onClick={() => resume.mutate({ id: job.id })}>
      <Play /> Resume
    </Button>
  ) : (
    <Button busy={pause.isPending} onClick={() => pause.mutate({ id: job.id })}>
      <Pause /> Pause
    </Button>
  );
}
