import { createHash, createHmac, timingSafeEqual } from "node:crypto";

// AWS Signature Version 4, of requests whose credentials stand in the Authorization header
const header =
  /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
const MAX_SKEW_MS = 15 * 60_000;

export type Credentials = { accessKey: string; secretKey: string };

export function isSigned(request: Request, { accessKey, secretKey }: Credentials, now: Date): boolean {
  const parts = header.exec(request.headers.get("authorization") ?? "");
  const [, key = "", day = "", region = "", signed = "", signature = ""] = parts ?? [];
  const time = request.headers.get("x-amz-date") ?? "";
  if (key !== accessKey || !time.startsWith(day) || !isRecent(time, now)) return false;
  const names = signed.split(";");
  if (!["host", "x-amz-date"].every((name) => names.includes(name))) return false;
  return timingSafeEqual(signatureOf(request, names, region, secretKey), Buffer.from(signature, "hex"));
}

/** `names`: the headers that are signed, in lower case and sorted. */
export function signatureOf(request: Request, names: string[], region: string, secretKey: string): Buffer {
  const time = request.headers.get("x-amz-date") ?? "";
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical(request, names))].join("\n");
  const signing = [day, region, "s3", "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secretKey}`);
  return hmac(signing, text);
}

function canonical(request: Request, names: string[]): string {
  const url = new URL(request.url);
  const query = [...url.searchParams]
    .map(([name, value]): [string, string] => [encoded(name), encoded(value)])
    .sort(([a, x], [b, y]) => (a === b ? (x < y ? -1 : 1) : a < b ? -1 : 1));
  const headers = names.map((name) => `${name}:${(request.headers.get(name) ?? "").trim().replace(/ +/g, " ")}\n`);
  const payload = request.headers.get("x-amz-content-sha256") ?? sha256("");
  const lines = [request.method, url.pathname, query.map((pair) => pair.join("=")).join("&"), headers.join("")];
  return [...lines, names.join(";"), payload].join("\n");
}

function isRecent(time: string, now: Date): boolean {
  const at = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  return Math.abs(now.getTime() - at) <= MAX_SKEW_MS;
}

/** RFC 3986, which leaves fewer characters as they are than JavaScript does. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
