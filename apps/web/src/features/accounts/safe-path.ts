/** A path of this site to go to after signing in; anything else (another host, `//host`, a list) is the overview. */
export function safePath(given: string | string[] | undefined): string {
  if (typeof given !== "string" || !/^\/(?![/\\])[^\s\\]*$/.test(given)) return "/";
  return given.startsWith("/sign-") || given.startsWith("/api/") ? "/" : given;
}
