import { fail } from "@grove/contracts/errors";
import { authorizeRoute } from "@grove/core/serving/authorize";
import { type StreamedAnswer, travel } from "@grove/core/serving/road";
import type { PromptRequest } from "@grove/core/serving/upstreams/upstream";
import { z } from "zod";
import type { GatewayContext } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { jsonResponse } from "../../json.ts";
import { clientAbort, newPromptCall, passedHeaders, passedOnHeaders } from "../../prompt.ts";
import { eventStream } from "../../streams.ts";
import { bodyForServing, type NativeRequest, readNativeBody } from "./native-body.ts";

/** `POST /generate`, `/generate_stream` and the deployment's root, which answers an array or a stream. */
export type NativeForm = "object" | "stream" | "root";

export async function handleNative(c: GatewayContext, baseModel: string, form: NativeForm): Promise<Response> {
  const body: unknown = await c.req.json().catch(() => undefined);
  if (body === undefined)
    return failureResponse("lorax", fail("malformed_request", "Failed to parse the request body as JSON."));
  const request = readNativeBody(body);
  if (!request.ok) return failureResponse("lorax", request);
  const route = await authorizeRoute(c.var.ctx, baseModel, request.value.adapterIds);
  if (!route.ok) return failureResponse("lorax", route);
  const passed = passedOnHeaders(c);
  if (!passed.ok) return failureResponse("lorax", passed);
  const streamed = form === "stream" || (form === "root" && request.value.stream);
  const path = form === "root" ? "/" : streamed ? "/generate_stream" : "/generate";
  const toServing: PromptRequest = {
    path,
    dialect: "native",
    body: bodyForServing(request.value, streamed),
    route: route.value,
    promptText: request.value.inputs,
    promptFormat: request.value.parameters.apply_chat_template === true ? "chat" : "raw",
    passed: passed.value,
  };
  const abort = clientAbort(c);
  const answer = await travel(c.var.ctx, toServing, newPromptCall(), abort.signal);
  if (!answer.ok) return failureResponse("lorax", answer);
  const headers = passedHeaders(answer.value.headers);
  if (answer.value.kind === "whole") return jsonResponse(answer.value.body, answer.value.status, headers);
  return eventStream(nativeLines(answer.value, request.value), abort, headers);
}

const lastEvent = z.looseObject({ generated_text: z.string(), details: z.unknown() });

async function* nativeLines(answer: StreamedAnswer, request: NativeRequest): AsyncGenerator<string> {
  for await (const event of answer.events) {
    const last = request.wantsDetails ? null : lastEvent.safeParse(event.json);
    yield last?.success ? JSON.stringify({ ...last.data, details: null }) : event.data;
  }
}
