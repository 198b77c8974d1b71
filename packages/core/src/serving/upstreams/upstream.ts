import type { PromptFormat } from "@grove/contracts/datasets";
import type { Result } from "@grove/contracts/errors";
import type { ServedAdapterView } from "@grove/contracts/serving";
import type { OrgCtx } from "../../context.ts";
import type { Route } from "../authorize.ts";
import type { Dialect, Tokens } from "../meter.ts";
import type { RefusalError } from "../refusal.ts";
import type { UpstreamKind } from "./setting.ts";

/** A prompt whose route `authorizeRoute` has allowed, in LoRAX's words (`native`, `scores`) or in OpenAI's. */
export type PromptRequest = {
  path: string; // of LoRAX: /, /generate, /generate_stream, /score, /v1/chat/completions, /v1/completions
  dialect: Dialect;
  body: Record<string, unknown>;
  route: Route;
  promptText: string; // what to measure where the answer does not tell its prompt's length
  promptFormat: PromptFormat | "messages";
  passed?: Record<string, string>; // the caller's headers that a model server may want: priority, deadline, trace
};

/** `tokens`: used so far, where this event tells it exactly. */
export type UpstreamEvent = { data: string; json: unknown; tokens?: Tokens };
/**
 * In the dialect of the request, whatever the server speaks. `x-grove-adapter` in the headers names the adapters that
 * answered, and is there only if the server has shown that they did.
 */
export type UpstreamAnswer = { status: number; headers: Headers } & (
  | { kind: "whole"; body: unknown }
  | { kind: "stream"; events: AsyncIterable<UpstreamEvent>; eventsAreTokens: boolean }
);
export type UpstreamError = RefusalError | "upstream_unsupported";
export type Asked<T> = Promise<Result<T, UpstreamError>>;

/** A model server of one kind. */
export interface Upstream {
  readonly kind: UpstreamKind;
  prompt(ctx: OrgCtx, request: PromptRequest, signal: AbortSignal): Asked<UpstreamAnswer>;
  /** LoRAX's calls that cost no generation, answered as LoRAX does. */
  ask(ctx: OrgCtx, question: Question, signal: AbortSignal): Asked<Response>;
  healthy(signal: AbortSignal): Promise<boolean>;
  /** Null where nobody can know it exactly. */
  countTokens(ctx: OrgCtx, text: string, what: Counted): Promise<number | null>;
  /** This organisation's adapters in its memory; null where the server does not tell. */
  adapters(ctx: OrgCtx, signal: AbortSignal): Asked<ServedAdapterView[] | null>;
}
export type Counted = PromptRequest["promptFormat"] | "completion";
export type Question = { path: "/info" | "/health" } | { path: "/tokenize"; body: unknown };

/** `org/repository/version@sha256`: a name that can't come to mean other weights, nor another organisation's. */
export function contentName(ctx: Pick<OrgCtx, "orgSlug">, adapter: { id: string; sha256: string }): string {
  return `${ctx.orgSlug}/${adapter.id}@${adapter.sha256}`;
}

/** What the road's guard compares with the route. */
export function adapterLabel(route: Route): string {
  return route.adapters.map((adapter) => `${adapter.id}@${adapter.sha256}`).join(",");
}
