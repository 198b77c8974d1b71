/**
 * True when a request that changes something comes from our own pages. Browsers send `Origin` with every POST and
 * `Sec-Fetch-Site` beside it; a request with neither comes from a program, which holds no cookie of a visitor.
 */
export function isSameOrigin(headers: Headers, ownUrl: string): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null && site !== "same-origin" && site !== "none") return false;
  const origin = headers.get("origin");
  if (origin === null) return true;
  if (!URL.canParse(origin)) return false; // "null", from sandboxed frames
  const host = new URL(origin).host;
  return host === headers.get("host") || host === new URL(ownUrl).host;
}
