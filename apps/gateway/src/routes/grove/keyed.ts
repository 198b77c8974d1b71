import { fail, type Result } from "@grove/contracts/errors";
import type { z } from "zod";
import type { GatewayContext } from "../../context.ts";
import { parseInput, readJson } from "../../json.ts";

/** A body that may carry an `idempotencyKey`; the header `Idempotency-Key` means the same. */
export async function readKeyed<T extends { idempotencyKey?: string | undefined }>(
  c: GatewayContext,
  schema: z.ZodType<T>,
): Promise<Result<T, "malformed_request" | "invalid_input">> {
  const input = await readJson(c, schema);
  const header = c.req.header("idempotency-key");
  if (!input.ok || header === undefined) return input;
  const { idempotencyKey } = input.value;
  if (idempotencyKey !== undefined && idempotencyKey !== header) {
    return fail("invalid_input", "The Idempotency-Key header and the idempotencyKey of the body differ.", {
      field: "idempotencyKey",
    });
  }
  return parseInput(schema, { ...input.value, idempotencyKey: header });
}
