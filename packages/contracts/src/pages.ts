import { z } from "zod";

/** Cursor pages, newest first. `cursor` is the id of the last item of the page before. */
export const pageInput = z.strictObject({
  cursor: z.uuid().optional(),
  limit: z.int().min(1).max(100).default(25),
});
export type PageInput = z.infer<typeof pageInput>;
export type Page<T> = { items: T[]; nextCursor: string | null };

export const byId = z.strictObject({ id: z.uuid() });
