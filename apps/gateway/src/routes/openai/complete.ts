import { fail } from "@grove/contracts/errors";
import { adapterId } from "@grove/contracts/names";
import { authorizeRoute } from "@grove/core/serving/authorize";
import { readRefusal, refusalOf } from "@grove/core/serving/refusal";
import { type StreamedAnswer, travel, type WholeAnswer } from "@grove/core/serving/road";
import { z } from "zod";
import type { GatewayContext } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse } from "../../json.ts";
import { clientAbort, newPromptCall, passedHeaders, passedOnHeaders } from "../../prompt.ts";
import { eventStream } from "../../streams.ts";
import { type OpenAiKind, type OpenAiRequest, readOpenAiBody } from "./body.ts";

const paths = { chat: "/v1/chat/completions", completion: "/v1/completions" } as const;

export async function handleOpenAi(c: GatewayContext, kind: OpenAiKind, baseModel: string): Promise<Response> {
  const body: unknown = await c.req.json().catch(() => undefined);
  if (body === undefined) return failureResponse("openai", fail("malformed_request", "The body is not JSON."));
  const request = readOpenAiBody(kind, body);
  if (!request.ok) return failureResponse("openai", request);
  const { model, promptText, passedOn } = request.value;
  const isBase = model === "" || model === baseModel;
  if (!isBase && !adapterId.safeParse(model).success) return failureResponse("openai", unknownModel(model));
  const route = await authorizeRoute(c.var.ctx, baseModel, isBase ? [] : [model]);
  if (!route.ok) return failureResponse("openai", route);
  const passed = passedOnHeaders(c);
  if (!passed.ok) return failureResponse("openai", passed);
  const toServing = { ...passedOn, model: isBase ? baseModel : model };
  const abort = clientAbort(c);
  const answer = await travel(
    c.var.ctx,
    {
      path: paths[kind],
      dialect: "openai",
      body: toServing,
      route: route.value,
      promptText,
      promptFormat: kind === "chat" ? "messages" : "raw",
      passed: passed.value,
    },
    newPromptCall(),
    abort.signal,
  );
  if (!answer.ok) return failureResponse("openai", answer);
  const headers = passedHeaders(answer.value.headers);
  if (answer.value.kind === "whole") return wholeResponse(answer.value, headers);
  return eventStream(openAiLines(answer.value, request.value), abort, headers);
}

function unknownModel(model: string) {
  const shown = JSON.stringify(model.slice(0, 80));
  return fail(
    "adapter_not_found",
    `The model ${shown} does not exist: GET /v1/models lists the base model and your adapters.`,
    { field: "model" },
  );
}

const openAiError = z.looseObject({ error: z.looseObject({ message: z.string() }) });

function wholeResponse(answer: WholeAnswer, headers: Headers): Response {
  const { status, body } = answer;
  if (status < 300 || openAiError.safeParse(body).success) return jsonResponse(body, status, headers);
  return failureResponse("openai", refusalOf(status, body)); // a stock LoRAX writes its own shape here
}

const chunk = z.looseObject({ choices: z.array(z.unknown()), usage: z.unknown().optional() });

async function* openAiLines(answer: StreamedAnswer, request: OpenAiRequest): AsyncGenerator<string> {
  let failed = false;
  for await (const event of answer.events) {
    failed = event.error;
    const line = event.error ? errorLine(event.json) : lineOf(event.json, request.includeUsage);
    if (line !== null) yield line;
  }
  if (!failed) yield "[DONE]";
}

/** Serving is always asked for usage, and the client gets it if it asked too. `[DONE]` is written by us, once. */
function lineOf(json: unknown, includeUsage: boolean): string | null {
  const parsed = chunk.safeParse(json);
  if (!parsed.success) return null;
  if (includeUsage) return JSON.stringify(parsed.data);
  if (parsed.data.choices.length === 0) return null;
  const { usage: _usage, ...rest } = parsed.data;
  return JSON.stringify(rest);
}

function errorLine(json: unknown): string {
  if (openAiError.safeParse(json).success) return JSON.stringify(json);
  const { message, type } = readRefusal(json);
  return JSON.stringify({ error: { message, type: "server_error", param: null, code: type } });
}
