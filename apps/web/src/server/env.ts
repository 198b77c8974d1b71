import "server-only";
import type { CoreSettings } from "@grove/core/context";
import { loadCoreSettings } from "@grove/core/settings";
import { z } from "zod";

const webEnv = z.object({
  NEXTAUTH_SECRET: z.string().min(16, "Use at least 16 random characters."),
  NEXTAUTH_URL: z.url(),
});
type Env = z.infer<typeof webEnv> & { core: CoreSettings };

let parsed: Env | null = null;

/** Read at the first request, not at the build, which has no environment. */
export function env(): Env {
  if (parsed !== null) return parsed;
  const own = webEnv.safeParse(process.env);
  if (!own.success) throw new Error(`The web app's environment is not complete:\n${z.prettifyError(own.error)}`);
  parsed = { ...own.data, core: loadCoreSettings(process.env) };
  return parsed;
}
