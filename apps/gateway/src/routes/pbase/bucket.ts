import { Readable } from "node:stream";
import type { Services } from "@grove/core/context";
import { adapterBucket, type BucketEntry, headOf, listBucket, openKey } from "@grove/core/serving/pbase";
import { Hono } from "hono";
import { createMiddleware } from "hono/factory";
import type { GatewayContext, GatewayEnv } from "../../context.ts";
import { isSigned } from "./signature.ts";

/**
 * Adapters as a read-only S3 bucket: what LoRAX's S3 source asks for by boto3 (HeadObject, GetObject, ListObjects). Signed
 * with the access key `grove` and the internal secret.
 */
export function bucketRoutes(services: Services): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>({ strict: false });
  const credentials = { accessKey: "grove", secretKey: services.settings.internalSecret };
  app.use(
    createMiddleware<GatewayEnv>(async (c, next) => {
      if (!isSigned(c.req.raw, credentials, new Date())) return refused(403, "SignatureDoesNotMatch");
      await next();
    }),
  );
  app.get("/", async (c) => {
    const prefix = c.req.query("prefix") ?? "";
    return xml(200, listing(prefix, await listBucket(services, prefix)));
  });
  app.get("/:sha256/:name", async (c) => objectResponse(services, c)); // HEAD too: its body is then left out
  return app;
}

async function objectResponse(services: Services, c: GatewayContext): Promise<Response> {
  const entry = await headOf(services, `${c.req.param("sha256")}/${c.req.param("name")}`);
  if (!entry) return refused(404, "NoSuchKey");
  const range = rangeOf(c.req.header("range"), entry.bytes);
  if (range === null) return refused(416, "InvalidRange");
  const headers = new Headers({
    "content-type": "application/octet-stream",
    "content-length": String(range.end - range.start + 1),
    "last-modified": entry.modifiedAt.toUTCString(),
    "accept-ranges": "bytes",
    etag: etagOf(entry),
  });
  if (range.partial) headers.set("content-range", `bytes ${range.start}-${range.end}/${entry.bytes}`);
  const status = range.partial ? 206 : 200;
  if (c.req.method === "HEAD") return new Response(null, { status, headers });
  const stream = await openKey(services, entry.key, range);
  if (!stream) return refused(404, "NoSuchKey");
  return new Response(Readable.toWeb(stream), { status, headers });
}

type Range = { start: number; end: number; partial: boolean };

function rangeOf(header: string | undefined, bytes: number): Range | null {
  if (header === undefined) return { start: 0, end: bytes - 1, partial: false };
  const [, from = "", to = ""] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header) ?? [];
  const start = Number(from);
  const end = Math.min(to === "" ? bytes - 1 : Number(to), bytes - 1);
  return from === "" || start > end ? null : { start, end, partial: true };
}

function listing(prefix: string, entries: BucketEntry[]): string {
  const contents = entries.map(
    (entry) =>
      `<Contents><Key>${entry.key}</Key><LastModified>${entry.modifiedAt.toISOString()}</LastModified>` +
      `<ETag>${escaped(etagOf(entry))}</ETag><Size>${entry.bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>`,
  );
  return (
    `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${adapterBucket}</Name>` +
    `<Prefix>${escaped(prefix)}</Prefix><Marker></Marker><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>` +
    `${contents.join("")}</ListBucketResult>`
  );
}

/** Keys hold the content's hash, so a key never changes what it names. */
function etagOf(entry: BucketEntry): string {
  return `"${entry.key.slice(0, 32)}"`;
}

function refused(status: number, code: string): Response {
  return xml(status, `<Error><Code>${code}</Code><Message>${code}</Message></Error>`);
}

function xml(status: number, body: string): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`, {
    status,
    headers: { "content-type": "application/xml" },
  });
}

function escaped(text: string): string {
  return text.replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
