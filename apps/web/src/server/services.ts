import "server-only";
import { createServices, type Services } from "@grove/core/context";
import { env } from "./env";

declare global {
  var groveServices: Services | undefined;
}

/** On `globalThis`, since a development reload loads this module again and would open another pool each time. */
export function services(): Services {
  globalThis.groveServices ??= createServices(env().core);
  return globalThis.groveServices;
}
