import "server-only";
import { z } from "zod";

const environment = z.object({
  DATABASE_URL: z.url(),
  REDIS_URL: z.url(),
  NEXTAUTH_SECRET: z.string().min(16, "NEXTAUTH_SECRET needs at least 16 characters."),
  NEXTAUTH_URL: z.url(),
  GROVE_DATA: z.string().min(1),
  GROVE_STORAGE_DIR: z.string().min(1),
  GROVE_GATEWAY_URL: z.url(),
  GROVE_SERVING_URL: z.url(),
  GROVE_INTERNAL_SECRET: z.string().min(1),
  GROVE_BASE_MODEL: z.string().min(1),
  GROVE_BASE_MODEL_PATH: z.string().min(1),
  GROVE_PYTHON: z.string().min(1),
  GROVE_QUEUE_PREFIX: z.string().min(1).default("grove"),
});
type Env = z.infer<typeof environment>;

let parsed: Env | null = null;

/** Read at the first request, not at the build, which has no environment. */
export function env(): Env {
  if (parsed === null) {
    const result = environment.safeParse(process.env);
    if (!result.success) throw new Error(`The web app's environment is not complete:\n${z.prettifyError(result.error)}`);
    parsed = result.data;
  }
  return parsed;
}
