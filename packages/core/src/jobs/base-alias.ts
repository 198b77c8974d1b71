import type { CoreSettings } from "../context.ts";

export type BaseSettings = Pick<CoreSettings, "baseModel" | "baseAliases">;

/** Configurations from elsewhere may name a model whose place the installed base takes (GROVE_BASE_ALIASES). */
export function installedBase({ baseModel, baseAliases }: BaseSettings, name: string): string {
  return baseAliases.includes(name) ? baseModel.id : name;
}
