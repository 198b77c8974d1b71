import { z } from "zod";

/** `?after=&limit=` of OpenAI's lists; ids there carry a prefix that says what they are of. */
export const listQuery = z.object({
  after: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});

export function listOf(data: { id: string }[], hasMore: boolean) {
  return { object: "list", data, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null, has_more: hasMore };
}

/** The uuid behind `file-…` or `ftjob-…`; a text that is none finds nothing. */
export function uuidOf(prefix: string, id: string): string | null {
  const bare = id.startsWith(`${prefix}-`) ? id.slice(prefix.length + 1) : id;
  return z.uuid().safeParse(bare).success ? bare : null;
}

export function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
