import { fail } from "@grove/contracts/errors";
import { listServedModels } from "@grove/core/serving/base-models";
import { Hono } from "hono";
import type { GatewayContext, GatewayEnv } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse } from "../../json.ts";
import { handleOpenAi } from "./complete.ts";

/** What the official `openai` clients call, below a deployment and at the gateway's root. */
export function openAiRoutes(baseModelOf: (c: GatewayContext) => string): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  app.post("/chat/completions", (c) => handleOpenAi(c, "chat", baseModelOf(c)));
  app.post("/completions", (c) => handleOpenAi(c, "completion", baseModelOf(c)));
  app.post("/embeddings", () => failureResponse("openai", noEmbeddings));
  app.get("/models", async (c) => jsonResponse({ object: "list", data: await models(c), has_more: false }));
  app.get("/models/:id{.+}", async (c) => {
    const id = decodeURIComponent(c.req.param("id")); // ids with a slash arrive percent-encoded
    const model = (await models(c)).find((one) => one.id === id);
    if (!model)
      return failureResponse(
        "openai",
        fail("adapter_not_found", `The model ${JSON.stringify(id.slice(0, 80))} does not exist.`),
      );
    return jsonResponse(model);
  });
  return app;
}

/** The status and words of LoRAX where its base model generates text, in the shape that OpenAI's clients read. */
const noEmbeddings = fail(
  "generation_failed",
  "Request failed during generation: Server error: Model does not support embeddings",
);

async function models(c: GatewayContext) {
  const served = await listServedModels(c.var.ctx);
  return served.map((model) => ({
    id: model.id,
    object: "model",
    created: Math.floor(model.createdAt.getTime() / 1000),
    owned_by: model.adapter ? c.var.ctx.orgSlug : "grove",
  }));
}
