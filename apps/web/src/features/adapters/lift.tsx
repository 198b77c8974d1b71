import { points } from "@/features/shared/format";

/** How far the adapter is over its base, green only where it is. */
export function Lift({ result }: { result: { adapterScore: number; baseScore: number } }) {
  const difference = result.adapterScore - result.baseScore;
  return (
    <span
      className={`font-medium tabular-nums ${difference >= 0.0005 ? "text-accent-text" : difference <= -0.0005 ? "text-danger-text" : "text-muted"}`}
    >
      {points(difference)}
    </span>
  );
}
