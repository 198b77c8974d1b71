import type { inferRouterInputs, inferRouterOutputs } from "@trpc/server";
import { accountsRouter } from "./routers/accounts.ts";
import { adaptersRouter } from "./routers/adapters.ts";
import { datasetsRouter } from "./routers/datasets.ts";
import { evalsRouter } from "./routers/evals.ts";
import { jobsRouter } from "./routers/jobs.ts";
import { servingRouter } from "./routers/serving.ts";
import { sweepsRouter } from "./routers/sweeps.ts";
import { usageRouter } from "./routers/usage.ts";
import { router } from "./trpc.ts";

export const appRouter = router({
  accounts: accountsRouter,
  datasets: datasetsRouter,
  jobs: jobsRouter,
  sweeps: sweepsRouter,
  adapters: adaptersRouter,
  serving: servingRouter,
  evals: evalsRouter,
  usage: usageRouter,
});

export type AppRouter = typeof appRouter;
export type ApiInputs = inferRouterInputs<AppRouter>;
export type ApiOutputs = inferRouterOutputs<AppRouter>;
export type { FailureData } from "./trpc.ts";
