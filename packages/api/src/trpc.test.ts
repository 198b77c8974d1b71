import { fail, ok, type Result } from "@grove/contracts/errors";
import { createServices } from "@grove/core/context";
import { loadCoreSettings } from "@grove/core/settings";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";
import superjson from "superjson";
import { afterEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { appRouter } from "./router.ts";
import { listInput, orgProcedure, orThrow, publicProcedure, router } from "./trpc.ts";

const services = createServices(
  loadCoreSettings({
    DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none", // nothing here gets as far as the database
    REDIS_URL: "redis://127.0.0.1:1",
    GROVE_INTERNAL_SECRET: "a secret of sixteen characters",
    GROVE_GATEWAY_URL: "http://127.0.0.1:1",
    GROVE_SERVING_URL: "http://127.0.0.1:1",
    GROVE_BASE_MODEL: "tiny",
    GROVE_BASE_MODEL_PATH: "/nowhere",
  }),
);
const counted: Result<bigint> = ok(2n);
const trial = router({
  refused: publicProcedure.query(() => orThrow(fail("dataset_file_invalid", "Row 7 has no end.", { line: 7 }))),
  counted: publicProcedure.query(() => orThrow(counted)),
  strict: publicProcedure.input(z.object({ config: z.object({ rank: z.int() }) })).query(() => null),
  broken: publicProcedure.query(() => {
    throw new Error("password=hunter2");
  }),
  members: orgProcedure.query(() => "inside"),
});

async function ask(procedure: string, input?: unknown): Promise<{ status: number; body: string }> {
  const query = input === undefined ? "" : `?input=${encodeURIComponent(superjson.stringify(input))}`;
  const answer = await fetchRequestHandler({
    endpoint: "/t",
    req: new Request(`http://test.local/t/${procedure}${query}`),
    router: trial,
    createContext: () => ({ services, org: null }),
  });
  return { status: answer.status, body: await answer.text() };
}

async function failureOf(procedure: string, input?: unknown): Promise<unknown> {
  const { status, body } = await ask(procedure, input);
  const error = z.object({ error: z.object({ json: z.object({ data: z.object({ failure: z.unknown() }) }) }) });
  return { status, failure: error.parse(JSON.parse(body)).error.json.data.failure };
}

afterEach(() => {
  vi.restoreAllMocks();
});

test("an expected failure keeps its code, its line and the status of the table", async () => {
  expect(await failureOf("refused")).toEqual({
    status: 400,
    failure: { code: "dataset_file_invalid", message: "Row 7 has no end.", field: null, line: 7 },
  });
});

test("money survives the way as a bigint", async () => {
  const { body } = await ask("counted");
  const data = z.object({ result: z.object({ data: z.custom<Parameters<typeof superjson.deserialize>[0]>() }) });
  expect(superjson.deserialize(data.parse(JSON.parse(body)).result.data)).toBe(2n);
});

test("wrong input is named by its path", async () => {
  expect(await failureOf("strict", { config: { rank: "many" } })).toMatchObject({
    status: 400,
    failure: { code: "invalid_input", field: "config.rank" },
  });
});

test("a bug is answered without its words", async () => {
  expect(await failureOf("broken")).toMatchObject({ status: 500, failure: { code: "internal" } });
  expect((await ask("broken")).body).not.toContain("hunter2");
});

test("a visitor is refused by every procedure but the two that a first visit needs", async () => {
  expect(await failureOf("members")).toMatchObject({ status: 401, failure: { code: "unauthenticated" } });
  const caller = appRouter.createCaller({ services, org: null });
  const open = new Set(["accounts.isFirstRun", "accounts.signUp"]);
  const closed = Object.keys(appRouter._def.procedures).filter((name) => !open.has(name));
  expect(closed.length).toBeGreaterThan(20);
  for (const name of closed) {
    const call = name
      .split(".")
      .reduce<unknown>(
        (at, key) => (typeof at === "function" || typeof at === "object" ? Reflect.get(Object(at), key) : at),
        caller,
      );
    const outcome =
      typeof call === "function" ? Promise.resolve(Reflect.apply(call, undefined, [undefined])) : Promise.resolve();
    await expect(outcome, name).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  }
});

test("a list takes what tRPC's infinite query sends, and core gets a page", () => {
  const cursor = "0190f0f0-0000-7000-8000-000000000000";
  expect(listInput.parse({ limit: 10, direction: "forward", cursor })).toEqual({ limit: 10, cursor });
  expect(listInput.parse({ direction: "forward" })).toEqual({ limit: 25 });
  expect(listInput.safeParse({ direction: "backward" }).success).toBe(false);
});
