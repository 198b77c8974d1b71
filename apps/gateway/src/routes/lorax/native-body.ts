import { fail, ok, type Result } from "@grove/contracts/errors";
import { z } from "zod";

// LoRAX ignores what it does not know and treats null as absent; bounds of sampling are serving's to check
const nativeParameters = z.looseObject({
  adapter_id: z.string().nullish(),
  adapter_source: z.string().nullish(),
  merged_adapters: z.looseObject({ ids: z.array(z.string()) }).nullish(),
  details: z.boolean().nullish(),
});
const nativeBody = z.looseObject({
  inputs: z.string(),
  parameters: nativeParameters.nullish(),
  stream: z.boolean().nullish(),
});

export type NativeRequest = {
  inputs: string;
  adapterIds: string[];
  stream: boolean;
  wantsDetails: boolean;
  parameters: Record<string, unknown>;
};

const ownSources = new Set(["", "pbase", "grove"]);

/** What the gateway must know of a LoRAX body; everything else travels through as it came. */
export function readNativeBody(body: unknown): Result<NativeRequest, "invalid_input"> {
  const parsed = nativeBody.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join(".") ?? "";
    return fail(
      "invalid_input",
      `Input validation error: ${field === "" ? "the body" : `\`${field}\``}: ${issue?.message ?? "is not valid"}`,
      { field },
    );
  }
  const parameters = parsed.data.parameters ?? {};
  const { adapter_id, adapter_source, merged_adapters } = parameters;
  if (adapter_id && merged_adapters) {
    return fail(
      "invalid_input",
      "Input validation error: at most one of `adapter_id` or `merged_adapters` may be given",
      { field: "adapter_id" },
    );
  }
  if (!ownSources.has((adapter_source ?? "").toLowerCase())) {
    return fail(
      "invalid_input",
      `Input validation error: \`adapter_source\` ${JSON.stringify(adapter_source)} is not served here; use pbase`,
      { field: "adapter_source" },
    );
  }
  const { api_token: _hubToken, ...passedOn } = parameters;
  return ok({
    inputs: parsed.data.inputs,
    adapterIds: merged_adapters ? merged_adapters.ids : adapter_id ? [adapter_id] : [],
    stream: parsed.data.stream ?? false,
    wantsDetails: parameters.details ?? false,
    parameters: passedOn,
  });
}

/** Streams are asked for details always: they carry the exact token counts that the bill needs. */
export function bodyForServing(request: NativeRequest, streamed: boolean): Record<string, unknown> {
  const source = request.adapterIds.length > 0 ? { adapter_source: "pbase" } : {};
  const details = streamed ? { details: true } : {};
  return { inputs: request.inputs, parameters: { ...request.parameters, ...source, ...details }, stream: streamed };
}
