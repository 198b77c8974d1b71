import { type Failure, fail, ok, type Result } from "@grove/contracts/errors";
import { z } from "zod";

/** LoRAX's parameters with its bounds, for servers that do not know them. Null means absent, unknown ones are ignored. */
const nativeParameters = z.object({
  max_new_tokens: z.int().min(1, "must be strictly positive").nullish(),
  temperature: z.number().min(0, "must be non-negative").nullish(),
  top_k: z.int().min(1, "must be strictly positive").nullish(),
  top_p: z.number().gt(0, "must be > 0.0 and <= 1.0").max(1, "must be > 0.0 and <= 1.0").nullish(),
  typical_p: z.number().gt(0, "must be > 0.0 and < 1.0").lt(1, "must be > 0.0 and < 1.0").nullish(),
  repetition_penalty: z.number().gt(0, "must be strictly positive").nullish(),
  frequency_penalty: z.number().min(-2, "must be >= -2.0").max(2, "must be <= 2.0").nullish(),
  presence_penalty: z.number().min(-2, "must be >= -2.0").max(2, "must be <= 2.0").nullish(),
  do_sample: z.boolean().nullish(),
  seed: z.int().min(0).nullish(),
  stop: z.array(z.string()).nullish(),
  truncate: z.int().min(1, "must be strictly positive").nullish(),
  watermark: z.boolean().nullish(),
  details: z.boolean().nullish(),
  decoder_input_details: z.boolean().nullish(),
  return_k_alternatives: z.int().min(1, "must be strictly positive").nullish(),
  best_of: z.int().min(1, "must be strictly positive").nullish(),
  ignore_eos_token: z.boolean().nullish(),
  return_full_text: z.boolean().nullish(),
  apply_chat_template: z.boolean().nullish(),
  response_format: z.looseObject({ type: z.string().nullish(), schema: z.unknown() }).nullish(),
  merged_adapters: z.looseObject({}).nullish(),
});
export type NativeParameters = z.infer<typeof nativeParameters>;
const nativeBody = z.looseObject({
  inputs: z.string().min(1, "can't be empty"),
  parameters: nativeParameters.nullish(),
  stream: z.boolean().nullish(),
});

export type NativePrompt = {
  inputs: string;
  parameters: NativeParameters;
  stream: boolean;
  inArray: boolean; // the root's whole answers stand in an array
};

export function readNative(path: string, body: unknown): Result<NativePrompt, "invalid_input"> {
  const parsed = nativeBody.safeParse(body);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = String(issue?.path.at(-1) ?? "the body");
    return fail("invalid_input", `Input validation error: \`${field}\` ${issue?.message ?? "is not valid"}`, { field });
  }
  const { inputs, parameters } = parsed.data;
  const stream = path === "/generate_stream" || (path === "/" && parsed.data.stream === true);
  if (stream && parameters?.decoder_input_details) {
    return fail(
      "invalid_input",
      "Input validation error: `decoder_input_details` == true is not supported when streaming tokens",
      { field: "decoder_input_details" },
    );
  }
  return ok({ inputs, parameters: parameters ?? {}, stream, inArray: path === "/" && !stream });
}

/** LoRAX is greedy until something asks for sampling. */
export function temperatureOf(p: NativeParameters): number {
  const asked = [p.temperature, p.top_k, p.top_p, p.typical_p].some((value) => value !== null && value !== undefined);
  return p.do_sample || asked ? (p.temperature ?? 1) : 0;
}

const neutral = new Set<unknown>([null, undefined, false, 1]); // 1: of best_of and repetition_penalty

/** The first of these parameters that was given a meaning, as a refusal. */
export function refuseParameters(
  server: string,
  parameters: Record<string, unknown>,
  names: string[],
): Failure<"upstream_unsupported"> | null {
  const name = names.find((one) => !neutral.has(parameters[one]));
  return name === undefined ? null : unsupported(server, name);
}

export function unsupported(server: string, name: string, why?: string): Failure<"upstream_unsupported"> {
  const reason = why ?? `can't be expressed to the ${server} server behind this deployment. Leave it out`;
  return fail("upstream_unsupported", `\`${name}\` ${reason}.`, { field: name });
}
