import { type Failure, fail, ok, type Result } from "@grove/contracts/errors";
import type { z } from "zod";
import type { GatewayContext } from "./context.ts";
import { failureResponse } from "./errors.ts";

/** Micro-dollars and bytes are BigInt inside and decimal strings outside: JSON numbers lose digits. */
export function jsonResponse(value: unknown, status = 200, headers: Headers = new Headers()): Response {
  const all = new Headers(headers);
  all.set("content-type", "application/json");
  const text = JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? item.toString() : item));
  return new Response(text, { status, headers: all });
}

export function resultResponse(result: Result<unknown>, status = 200): Response {
  return result.ok ? jsonResponse(result.value, status) : failureResponse("grove", result);
}

/** The body, or the query of a GET, by its schema. */
export async function readJson<S extends z.ZodType>(
  c: GatewayContext,
  schema: S,
): Promise<Result<z.infer<S>, "malformed_request" | "invalid_input">> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch {
    return fail("malformed_request", "The body is not JSON.");
  }
  return parseInput(schema, body);
}

export function parseInput<S extends z.ZodType>(schema: S, input: unknown): Result<z.infer<S>, "invalid_input"> {
  const parsed = schema.safeParse(input);
  return parsed.success ? ok(parsed.data) : invalid(parsed.error);
}

function invalid(error: z.ZodError): Failure<"invalid_input"> {
  const issue = error.issues[0];
  const field = issue?.path.join(".") ?? "";
  const message = issue?.message ?? "The input is not valid.";
  return field === "" ? fail("invalid_input", message) : fail("invalid_input", `${field}: ${message}`, { field });
}

/** A query is text; the named fields are numbers in our schemas. Text that is no number stays, and the schema refuses it. */
export function numbersIn(query: Record<string, string>, names: string[]): Record<string, unknown> {
  const entries = Object.entries(query).map(([name, text]): [string, unknown] => {
    return names.includes(name) && /^-?\d{1,15}$/.test(text) ? [name, Number(text)] : [name, text];
  });
  return Object.fromEntries(entries);
}
