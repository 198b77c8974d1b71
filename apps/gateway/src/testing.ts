// For tests: the gateway on a port of its own before the real engine, with two organisations and an adapter each.
import { createServer } from "node:http";
import { createToken } from "@grove/core/accounts/tokens";
import type { OrgCtx, Services } from "@grove/core/context";
import {
  adapterFileServer,
  emptyDataset,
  type LocalServer,
  listen,
  makeTinyModels,
  publishAdapter,
  startEngine,
} from "@grove/core/serving/testing";
import { createTestWorld, type TestWorld } from "@grove/core/testing";
import { getRequestListener } from "@hono/node-server";
import { createApp } from "./app.ts";

export type Sent = { status: number; headers: Headers; text: string; json: unknown };
export type TestGateway = {
  url: string;
  deployment: string; // of the organisation "acme", whose adapter is mine/1
  world: TestWorld;
  owner: OrgCtx;
  token: string;
  foreignToken: string; // of "rival", whose adapter is foreign/1
  sha256: string; // of mine/1
  errors: unknown[]; // what the gateway could not explain
  post: (path: string, body: unknown, bearer?: string | null) => Promise<Sent>;
  send: (method: string, path: string, bearer?: string | null) => Promise<Sent>;
  usage: () => ReturnType<TestWorld["services"]["db"]["usageEvent"]["findMany"]>;
  before: (servingUrl: string) => Promise<LocalServer>; // another gateway of the same installation, before another server
  close: () => Promise<void>;
};

export async function startTestGateway(): Promise<TestGateway> {
  const models = await makeTinyModels(2);
  const [first, second] = models.adapters;
  if (!first || !second) throw new Error("not made");
  const files = await listen(adapterFileServer(() => world.services.storage));
  const engine = await startEngine(models, { gatewayUrl: files.url });
  const world = await createTestWorld({ servingUrl: engine.url, baseModel: models.base });
  await publishAdapter(world.ctx, first, { repository: "mine", datasetId: await emptyDataset(world.ctx) });
  await publishAdapter(world.otherCtx, second, {
    repository: "foreign",
    datasetId: await emptyDataset(world.otherCtx),
  });
  const [owner, rival] = [await withOwner(world.ctx), await withOwner(world.otherCtx)];
  const token = await tokenOf(owner);
  const errors: unknown[] = [];
  const gateway = await listenFor(world.services, errors);

  async function call(path: string, bearer: string | null, init: RequestInit): Promise<Sent> {
    const url = path.startsWith("http") ? path : `${gateway.url}${path}`;
    const response = await fetch(url, {
      ...init,
      headers: bearer === null ? {} : { authorization: `Bearer ${bearer}` },
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: /^[{[]/.test(text) ? JSON.parse(text) : null,
    };
  }

  return {
    url: gateway.url,
    deployment: `${gateway.url}/acme/deployments/v2/llms/tiny`,
    world,
    owner,
    token,
    foreignToken: await tokenOf(rival),
    sha256: first.sha256,
    errors,
    post: (path, body, bearer = token) =>
      call(path, bearer, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
    send: (method, path, bearer = token) => call(path, bearer, { method }),
    usage: () => world.services.db.usageEvent.findMany({ orderBy: { id: "asc" } }),
    before: (servingUrl) =>
      listenFor({ ...world.services, settings: { ...world.services.settings, servingUrl } }, errors),
    async close() {
      await gateway.close();
      await engine.stop();
      await files.close();
      await world.close();
      await models.remove();
    },
  };
}

/** Without an engine: the gateway, a token of the organisation's owner, and what the gateway could not explain. */
export async function startPlainGateway(world: TestWorld): Promise<LocalServer & { token: string; errors: unknown[] }> {
  const errors: unknown[] = [];
  const token = await tokenOf(await withOwner(world.ctx));
  return { ...(await listenFor(world.services, errors)), token, errors };
}

function listenFor(services: Services, errors: unknown[]): Promise<LocalServer> {
  const app = createApp(services, { onError: (error) => errors.push(error) });
  return listen(createServer(getRequestListener(app.fetch)));
}

async function withOwner(ctx: OrgCtx): Promise<OrgCtx> {
  const memberships = { create: { orgId: ctx.orgId, role: "owner" } };
  const data = { email: `${ctx.orgSlug}@example.org`, name: "o", passwordHash: "-", memberships };
  const user = await ctx.db.user.create({ data });
  return { ...ctx, actor: { kind: "user", userId: user.id } };
}

async function tokenOf(ctx: OrgCtx): Promise<string> {
  const made = await createToken(ctx, { name: "t" });
  if (!made.ok) throw new Error(made.message);
  return made.value.token;
}
