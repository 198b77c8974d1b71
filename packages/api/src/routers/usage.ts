import { usageInput } from "@grove/contracts/usage";
import { usageReport } from "@grove/core/usage/report";
import { orgProcedure, router } from "../trpc.ts";

export const usageRouter = router({
  report: orgProcedure.input(usageInput).query(({ ctx, input }) => usageReport(ctx.org, input)),
});
