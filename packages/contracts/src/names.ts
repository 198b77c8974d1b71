import { z } from "zod";

/** Names that stand in URLs and adapter ids: `support-intents`. */
export const slug = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/,
    "Use 1 to 63 lower-case letters, digits, dots, dashes or underscores, beginning and ending with a letter or digit.",
  );

export const displayName = z.string().trim().min(1, "Give it a name.").max(120, "Keep the name under 120 characters.");

/** `repository/version`, as LoRAX and Predibase clients write it; a job's checkpoint is `repository/c0ffee12-step-120`. */
export const adapterId = z
  .string()
  .max(90)
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\/(?:[1-9][0-9]{0,8}|[0-9a-f]{8}-step-[1-9][0-9]{0,6})$/,
    "An adapter id is repository/version, for example support-intents/1.",
  );

/** `version` is null where the name is a checkpoint's. */
export function splitAdapterId(id: string): { repository: string; name: string; version: number | null } {
  const [repository = "", name = ""] = id.split("/");
  return { repository, name, version: /^\d+$/.test(name) ? Number(name) : null };
}

/** Turns free text into a slug; empty text gives `untitled`. */
export function toSlug(text: string): string {
  const base = text
    .normalize("NFKD")
    .replace(/\p{M}+/gu, "") // "ö" is "o" and a mark by now
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return base === "" ? "untitled" : base;
}
