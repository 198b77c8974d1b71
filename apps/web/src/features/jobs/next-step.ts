const steps: Record<string, string> = {
  trainer_bad_spec: "Change the setting that it names and start the job again.",
  trainer_bad_data: "Look at the rows in the template preview, correct the file or the template, then start again.",
  trainer_out_of_memory: "Lower the batch size or the most tokens a row, then start again.",
  trainer_diverged: "Halve the learning rate and start again; a longer warm-up helps too.",
  trainer_disk_full: "Free some disk space on the worker, then start again.",
  trainer_failed: "The log below says more. Starting again often helps.",
  trainer_died: "The trainer was killed from outside, often for memory. Lower the batch size, or start again.",
  storage_full: "Free some disk space in the object store, then start again.",
  dataset_not_found: "The data set was deleted. Upload it again and start a new job.",
  template_column_missing: "Use only columns that the data set has.",
  target_column_missing: "Choose a target column that the data set has.",
  dataset_too_small: "Upload more rows: training needs some to learn from and some to check with.",
};

/** What a person can do about a failed job. */
export function nextStep(code: string): string {
  return (
    steps[code] ?? "The log below says more. Start it again, and if it stays, tell whoever runs this installation."
  );
}
