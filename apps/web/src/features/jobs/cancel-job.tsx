"use client";
import type { JobView } from "@grove/contracts/jobs";
import { Button } from "@grove/ui/button";
import { ConfirmDialog } from "@grove/ui/dialog";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Square } from "lucide-react";
import { useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { useTRPC } from "@/features/shared/trpc";

export function CancelJob({ job }: { job: Pick<JobView, "id" | "name" | "cancelRequested" | "status"> }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [open, setOpen] = useState(false);
  const cancel = useMutation(
    trpc.jobs.cancel.mutationOptions({
      onSuccess: () => setOpen(false),
      onSettled: () => void queryClient.invalidateQueries(trpc.jobs.get.queryFilter({ id: job.id })),
    }),
  );
  if (job.status === "publishing") return null;
  return (
    <>
      <Button busy={job.cancelRequested} onClick={() => setOpen(true)}>
        {job.cancelRequested ? null : <Square />} {job.cancelRequested ? "Cancelling" : "Cancel job"}
      </Button>
      <ConfirmDialog
        open={open}
        onOpenChange={setOpen}
        title={`Cancel “${job.name}”?`}
        description="Training stops within seconds and no adapter is made. What was learned until then is lost, and nothing is billed."
        action="Cancel job"
        busy={cancel.isPending}
        error={cancel.error === null ? null : failureOf(cancel.error).message}
        onConfirm={() => cancel.mutate({ id: job.id })}
      />
    </>
  );
}
