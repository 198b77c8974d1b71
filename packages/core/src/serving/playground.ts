import { randomUUID } from "node:crypto";
import type { GenerateChunk, GenerateInput, PlaygroundInput } from "@grove/contracts/serving";
import type { OrgCtx } from "../context.ts";
import { compileTemplate, templateColumns } from "../datasets/template.ts";
import { authorizeRoute } from "./authorize.ts";
import { generateStream } from "./generate.ts";

/** One side of the comparison: the adapter, or its base with the very same prompt. */
export async function* runPlayground(
  ctx: OrgCtx,
  input: PlaygroundInput,
  signal: AbortSignal,
): AsyncGenerator<GenerateChunk> {
  const route = await authorizeRoute(ctx, ctx.settings.baseModel.id, [input.adapterId]);
  if (!route.ok) return yield { type: "error", code: route.code, message: route.message };
  const [adapter] = route.value.adapters;
  if (adapter === undefined) throw new Error("A route to one adapter has none.");
  const { config } = adapter;
  const missing = templateColumns(config.promptTemplate).filter((column) => !Object.hasOwn(input.values, column));
  if (missing.length > 0) {
    return yield {
      type: "error",
      code: "template_column_missing",
      message: `The template needs a value for ${missing.map((column) => `"${column}"`).join(", ")}.`,
    };
  }
  const prompt: GenerateInput = {
    baseModel: route.value.baseModel,
    adapterIds: input.side === "adapter" ? [input.adapterId] : [],
    prompt: compileTemplate(config.promptTemplate)(input.values),
    maxNewTokens: input.maxNewTokens,
    temperature: input.temperature,
    stop: [],
    seed: null,
    applyChatTemplate: config.promptFormat === "chat",
  };
  yield* generateStream(ctx, prompt, { source: "playground", key: `prompt-${randomUUID()}` }, signal);
}
