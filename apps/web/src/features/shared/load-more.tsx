"use client";
import { Button } from "@grove/ui/button";

/** Under a list that comes in pages. */
export function LoadMore({ hasMore, busy, onMore }: { hasMore: boolean; busy: boolean; onMore: () => void }) {
  if (!hasMore) return null;
  return (
    <div className="flex justify-center border-t border-line p-3">
      <Button variant="ghost" size="sm" busy={busy} onClick={onMore}>
        Show more
      </Button>
    </div>
  );
}
