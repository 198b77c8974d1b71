import { errorTable, type Failure, isErrorCode, type Result } from "@grove/contracts/errors";
import { pageInput } from "@grove/contracts/pages";
import { initTRPC, TRPCError } from "@trpc/server";
import superjson from "superjson";
import { z } from "zod";
import type { ApiContext } from "./context.ts";

/** Carries an expected failure through tRPC, so that the formatter can show its code, field and line. */
class ExpectedFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** What every error holds in `data.failure`, whatever threw it. */
export type FailureData = { code: string; message: string; field: string | null; line: number | null };

const unexpected = "Something broke on our side. Try again; if it stays, look at the server's log.";

function describe(error: TRPCError): FailureData {
  if (error.cause instanceof ExpectedFailure) {
    const { code, message, field, line } = error.cause.failure;
    return { code, message, field: field ?? null, line: line ?? null };
  }
  if (error.cause instanceof z.ZodError) {
    const issue = error.cause.issues[0];
    const field = issue === undefined || issue.path.length === 0 ? null : issue.path.join(".");
    return { code: "invalid_input", message: issue?.message ?? "The input is not valid.", field, line: null };
  }
  if (error.code === "UNAUTHORIZED")
    return { code: "unauthenticated", message: error.message, field: null, line: null };
  if (error.code === "INTERNAL_SERVER_ERROR") return { code: "internal", message: unexpected, field: null, line: null };
  return {
    code: isErrorCode(error.code) ? error.code : "malformed_request",
    message: error.message,
    field: null,
    line: null,
  };
}

const t = initTRPC.context<ApiContext>().create({
  transformer: superjson,
  isDev: false, // no stack traces in answers
  errorFormatter: ({ shape, error }) => {
    const failure = describe(error);
    return { ...shape, message: failure.message, data: { ...shape.data, failure } };
  },
});

export const router = t.router;
export const publicProcedure = t.procedure;

/** A signed-in member of an organisation; `ctx.org` is what core functions take. */
export const orgProcedure = t.procedure.use(({ ctx, next }) => {
  if (ctx.org === null) throw new TRPCError({ code: "UNAUTHORIZED", message: "Sign in to go on." });
  return next({ ctx: { ...ctx, org: ctx.org } });
});

/** The value of a result, or the error that the table gives its code. */
export function orThrow<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  const cause = new ExpectedFailure(result);
  throw new TRPCError({ code: errorTable[result.code].trpc, message: result.message, cause });
}

/** A cursor page as tRPC's infinite query asks for it: it adds the direction it scrolls in, and ours go forward only. */
export const listInput = pageInput
  .extend({ direction: z.literal("forward").optional() })
  .transform(({ direction: _, ...page }) => page);
