import type { CoreSettings } from "../../context.ts";
import { groveUpstream } from "./grove.ts";
import { loraxUpstream } from "./lorax.ts";
import { openAiUpstream } from "./openai.ts";
import type { UpstreamSetting } from "./setting.ts";
import type { Upstream } from "./upstream.ts";
import { vllmUpstream } from "./vllm.ts";

const made = new Map<string, Upstream>(); // vLLM's remembers which adapters it has loaded

/** The model server that answers for a base model: GROVE_UPSTREAMS names it, otherwise it is our own engine. */
export function upstreamOf(settings: CoreSettings, baseModel: string): Upstream {
  const setting = settings.upstreams[baseModel] ?? { kind: "grove" as const, url: settings.servingUrl };
  const key = JSON.stringify([baseModel, setting]);
  const upstream = made.get(key) ?? make(settings, setting);
  made.set(key, upstream);
  return upstream;
}

function make(settings: CoreSettings, setting: UpstreamSetting): Upstream {
  if (setting.kind === "grove") return groveUpstream(setting);
  if (setting.kind === "lorax") return loraxUpstream(setting, settings);
  if (setting.kind === "vllm") return vllmUpstream(setting, settings.baseModel);
  return openAiUpstream(setting, settings.baseModel);
}
