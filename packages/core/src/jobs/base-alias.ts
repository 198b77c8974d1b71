import type { CoreSettings } from "../context.ts";

/** Configurations from elsewhere may name a model whose place the installed base takes (GROVE_BASE_ALIASES). */
export function installedBase({ baseModel, baseAliases }: CoreSettings, name: string): string {
  return baseAliases.includes(name) ? baseModel.id : name;
}
