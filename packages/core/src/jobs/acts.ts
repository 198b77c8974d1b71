import { cancelJob } from "./cancel-job.ts";
import { pauseJob, resumeJob } from "./pause-job.ts";

/** What can be done to a job after it was made, by the name that every door gives it. */
export const jobActs = { cancel: cancelJob, pause: pauseJob, resume: resumeJob };
