import { z } from "zod";

export const replaySplits = ["train", "validation"] as const;
export type ReplaySplit = (typeof replaySplits)[number];

/** What a finished run needs to be run again elsewhere; the rows come by themselves. */
export const replayPlan = z.strictObject({
  jobId: z.uuid(),
  adapterId: z.string(), // "repository/version"
  sha256: z.string(), // what the replay must come to
  baseModel: z.string(),
  continueFrom: z.string().nullable(), // the adapter that it went on from
  hasValidation: z.boolean(),
  manifest: z.looseObject({
    // the run's grove.json, as the trainer wrote it
    data_sha256: z.string(), // of the training rows
    base_sha256: z.string(),
    stopped_by: z.string(),
  }),
});
export type ReplayPlan = z.infer<typeof replayPlan>;
