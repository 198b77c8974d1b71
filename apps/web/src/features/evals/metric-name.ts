import type { Metric } from "@grove/contracts/evals";

const names: Record<Metric, string> = { accuracy: "Accuracy", exact_match: "Exact match", rouge_l: "ROUGE-L" };

export function metricName(metric: Metric): string {
  return names[metric];
}
