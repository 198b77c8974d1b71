import { createHmac, timingSafeEqual } from "node:crypto";
import type { RoutedAdapter } from "../authorize.ts";

// A LoRAX keeps an adapter under its id alone, for good and for everyone who names it. So it is given ids that hold the
// content's hash, and a token that opens nothing but the asking organisation's adapters.

/** `support-intents/3` of a hash becomes `support-intents.3/<sha256>`: two parts, as LoRAX's pbase source wants. */
export function pbaseName(adapter: Pick<RoutedAdapter, "id" | "sha256">): string {
  return `${adapter.id.replace("/", ".")}/${adapter.sha256}`;
}

export function pbaseToken(secret: string, orgSlug: string): string {
  return `grove.${orgSlug}.${macOf(secret, orgSlug)}`;
}

/** The organisation that a token of `pbaseToken` was made for. */
export function orgOfPbaseToken(secret: string, token: string): string | null {
  const [, orgSlug = "", mac = ""] = /^grove\.(.+)\.([0-9a-f]{64})$/.exec(token) ?? [];
  const right = Buffer.from(macOf(secret, orgSlug));
  const given = Buffer.from(mac);
  return orgSlug !== "" && right.length === given.length && timingSafeEqual(right, given) ? orgSlug : null;
}

function macOf(secret: string, orgSlug: string): string {
  return createHmac("sha256", secret).update(`pbase ${orgSlug}`).digest("hex");
}
