// What a stock LoRAX calls to get an adapter, in its order: predibase/lorax at a7394ba, server/lorax_server/utils/sources/
// __init__.py (map_pbase_model_id_to_s3) and s3.py (download_file, weight_s3_files, by boto3).
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { createToken } from "@grove/core/accounts/tokens";
import { type LocalServer, listen } from "@grove/core/serving/testing";
import { pbaseName, pbaseToken } from "@grove/core/serving/upstreams/pbase-names";
import { type UpstreamWorld, upstreamWorld } from "@grove/core/serving/upstreams/testing";
import { getRequestListener } from "@hono/node-server";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createApp } from "../../app.ts";
import { signatureOf } from "./signature.ts";

let on: UpstreamWorld;
let gateway: LocalServer;
let token: string;
const errors: unknown[] = [];
beforeAll(async () => {
  on = await upstreamWorld();
  const app = createApp(on.world.services, { onError: (error) => errors.push(error) });
  gateway = await listen(createServer(getRequestListener(app.fetch)));
  const user = await on.world.services.db.user.create({
    data: { email: "a@example.org", name: "a", passwordHash: "-" },
  });
  const made = await createToken({ ...on.world.ctx, actor: { kind: "user", userId: user.id } }, { name: "t" });
  if (!made.ok) throw new Error(made.message);
  token = made.value.token;
}, 60_000);
afterAll(async () => {
  await gateway?.close();
  await on?.close();
});
afterEach(() => expect(errors).toEqual([]));

async function resolve(id: string, bearer: string): Promise<{ status: number; json: unknown }> {
  const [name, version] = id.split("/");
  const url = `${gateway.url}/v2/repos/${name}/version/${version}`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${bearer}` } });
  return { status: response.status, json: await response.json() };
}

/** As boto3 signs it. */
async function s3(
  method: "GET" | "HEAD",
  path: string,
  more: Record<string, string> = {},
  secret?: string,
): Promise<Response> {
  const url = `${gateway.url}/grove-adapters${path}`;
  const time = `${new Date().toISOString().replace(/[-:]|\.\d+/g, "")}`;
  const signed = { "x-amz-date": time, "x-amz-content-sha256": createHash("sha256").update("").digest("hex") };
  const names = ["host", "x-amz-content-sha256", "x-amz-date"];
  const request = new Request(url, { method, headers: { ...signed, host: new URL(url).host } });
  const key = secret ?? on.world.services.settings.internalSecret;
  const signature = signatureOf(request, names, "us-east-1", key).toString("hex");
  const credential = `Credential=grove/${time.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return fetch(url, { method, headers: { ...signed, ...more, authorization } });
}

describe("a stock LoRAX's pbase source", () => {
  it.each([
    ["a user's id and token", () => ["mine/1", token]],
    ["the gateway's own name and token", () => [pbaseName({ id: "mine/1", sha256: on.sha256 }), secretToken("acme")]],
  ])("finds where an adapter is by %s", async (_by, ask) => {
    const [id = "", bearer = ""] = ask();
    expect(await resolve(id, bearer)).toMatchObject({
      status: 200,
      json: { status: "completed", adapterPath: `s3://grove-adapters/${on.sha256}` },
    });
  });

  it.each([
    ["an id that does not exist", () => ["mine/9", token], 404],
    [
      "another organisation's content",
      () => [pbaseName({ id: "mine/1", sha256: on.sha256 }), secretToken("rival")],
      404,
    ],
    ["a token that somebody made up", () => ["mine/1", `grove.acme.${"0".repeat(64)}`], 401],
    ["no token", () => ["mine/1", ""], 401],
  ])("hears of %s what LoRAX turns into its 424", async (_what, ask, status) => {
    const [id = "", bearer = ""] = ask();
    expect(await resolve(id, bearer)).toMatchObject({ status, json: { error: expect.any(String) } });
  });

  it("downloads the files that it finds under the hash", async () => {
    expect((await s3("HEAD", `/${on.sha256}/config.json`)).status).toBe(404); // boto3's ClientError: not a full model
    const listed = await (await s3("GET", `?prefix=${on.sha256}&encoding-type=url`)).text();
    const keys = [...listed.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key]) => key ?? "");
    expect(keys.map((key) => key.split("/")[1])).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "README.md",
      "grove.json",
    ]);
    const hash = createHash("sha256");
    for (const key of keys.slice(0, 2)) {
      const head = await s3("HEAD", `/${key}`);
      const body = Buffer.from(await (await s3("GET", `/${key}`)).arrayBuffer());
      expect(Number(head.headers.get("content-length"))).toBe(body.length);
      hash.update(body);
    }
    expect(hash.digest("hex")).toBe(on.sha256);
  });

  it("gets large files in parts", async () => {
    const part = await s3("GET", `/${on.sha256}/adapter_model.safetensors`, { range: "bytes=2-4" });
    expect([part.status, part.headers.get("content-range"), await part.text()]).toEqual([206, "bytes 2-4/7", "igh"]);
    expect((await s3("GET", `/${on.sha256}/adapter_model.safetensors`, { range: "bytes=7-" })).status).toBe(416);
  });

  it.each([
    ["a listing without a whole hash", () => s3("GET", "?prefix="), 200, /<\/IsTruncated><\/ListBucketResult>/],
    ["a path out of the bucket", () => s3("GET", `/${"0".repeat(64)}/..%2f..%2fsecrets`), 404, /NoSuchKey/],
    ["another secret", () => s3("GET", `/${on.sha256}/adapter_config.json`, {}, "wrong"), 403, /SignatureDoesNotMatch/],
  ])("gets nothing by %s", async (_what, act, status, text) => {
    const answer = await act();
    expect([answer.status, await answer.text()]).toEqual([status, expect.stringMatching(text)]);
  });
});

function secretToken(org: string): string {
  return pbaseToken(on.world.services.settings.internalSecret, org);
}
