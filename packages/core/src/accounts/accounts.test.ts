import { createHash } from "node:crypto";
import { signInInput, signUpInput } from "@grove/contracts/accounts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OrgCtx } from "../context.ts";
import { createTestWorld, type TestWorld } from "../testing.ts";
import { verifyPassword } from "./passwords.ts";
import { loadOrgCtx, signIn } from "./sign-in.ts";
import { isFirstRun, signUp } from "./sign-up.ts";
import { authenticateToken, createToken, listTokens, revokeToken } from "./tokens.ts";

let world: TestWorld;
let ctx: OrgCtx; // of the account that signed up
const person = (email: string) =>
  signUpInput.parse({ email, password: "correct horse", name: "Ada", organisation: "Ada & Söhne" });

beforeAll(async () => {
  world = await createTestWorld();
});
afterAll(() => world.close());

describe("signUp", () => {
  it("lets one of two simultaneous first accounts make the organisation", async () => {
    expect(await isFirstRun(world.services)).toBe(true);
    const answers = await Promise.all(
      ["ada@example.org", "eve@example.org", "ada@example.org"].map((email) => signUp(world.services, person(email))),
    );
    expect(answers.filter((answer) => answer.ok)).toHaveLength(1);
    expect(await world.services.db.user.count()).toBe(1);
    expect(await isFirstRun(world.services)).toBe(false);
    const made = answers.find((answer) => answer.ok);
    if (!made?.ok) throw new Error("nobody won");
    expect(made.value.organisation.slug).toBe("ada-sohne");
    const loaded = await loadOrgCtx(world.services, made.value.user.id);
    if (!loaded) throw new Error("no membership");
    ctx = loaded;
  });

  it("tells a known address from a closed door", async () => {
    const { email } = await world.services.db.user.findFirstOrThrow();
    expect(await signUp(world.services, person(email))).toMatchObject({
      ok: false,
      code: "email_taken",
      field: "email",
    });
    expect(await signUp(world.services, person("late@example.org"))).toMatchObject({ ok: false, code: "forbidden" });
  });

  it("keeps an argon2id hash, never the password", async () => {
    const { passwordHash } = await world.services.db.user.findFirstOrThrow();
    expect(passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await verifyPassword(passwordHash, "correct horse")).toBe(true);
    expect(await verifyPassword(null, "nobody has this password")).toBe(false);
  });
});

describe("signIn", () => {
  it("takes the address in any case and the right password alone", async () => {
    const { email } = await world.services.db.user.findFirstOrThrow();
    const input = (given: string, password: string) => signInInput.parse({ email: given, password });
    expect(await signIn(world.services, input(email.toUpperCase(), "correct horse"))).toMatchObject({
      ok: true,
      value: { user: { email } },
    });
    const [wrong, unknown] = [
      await signIn(world.services, input(email, "wrong horse")),
      await signIn(world.services, input("no@example.org", "correct horse")),
    ];
    expect(wrong).toMatchObject({ ok: false, code: "wrong_password" });
    expect(unknown).toEqual(wrong);
  });

  it("hashes for an unknown address too", async () => {
    const median = async (email: string) => {
      const times: number[] = [];
      for (let i = 0; i < 5; i++) {
        const started = performance.now();
        await signIn(world.services, { email, password: "some password" });
        times.push(performance.now() - started);
      }
      return times.sort((a, b) => a - b)[2] ?? 0;
    };
    const { email } = await world.services.db.user.findFirstOrThrow();
    await median("warm@example.org");
    const [known, unknown] = [await median(email), await median("unknown@example.org")];
    expect(unknown).toBeGreaterThan(known / 3); // without the work it would be a fiftieth
  });

  it("gives no context for an account without an organisation", async () => {
    const lonely = await world.services.db.user.create({
      data: { email: "lonely@example.org", name: "L", passwordHash: "-" },
    });
    expect(await loadOrgCtx(world.services, lonely.id)).toBeNull();
  });
});

describe("tokens", () => {
  it("shows a token once and keeps its hash", async () => {
    const made = await createToken(ctx, { name: "laptop" });
    if (!made.ok) throw new Error(made.message);
    const { token, id, prefix } = made.value;
    expect(token).toMatch(/^pb_[0-9a-f]{64}$/);
    expect(token.startsWith(prefix)).toBe(true);
    expect(await world.services.db.apiToken.findUniqueOrThrow({ where: { id } })).toMatchObject({
      tokenHash: createHash("sha256").update(token).digest("hex"),
      lastUsedAt: null,
    });
    expect(JSON.stringify(await listTokens(ctx))).not.toContain(token);
  });

  it("opens the organisation it was made for, and counts as used once a minute", async () => {
    const made = await createToken(ctx, { name: "used" });
    if (!made.ok) throw new Error(made.message);
    const opened = await authenticateToken(world.services, made.value.token);
    expect(opened).toMatchObject({
      ok: true,
      value: { orgId: ctx.orgId, orgSlug: ctx.orgSlug, actor: { kind: "token", tokenId: made.value.id } },
    });
    const used = () =>
      world.services.db.apiToken.findUniqueOrThrow({ where: { id: made.value.id }, select: { lastUsedAt: true } });
    const first = (await used()).lastUsedAt;
    expect(first).not.toBeNull();
    await authenticateToken(world.services, made.value.token);
    expect((await used()).lastUsedAt).toEqual(first);
    await world.services.db.apiToken.update({
      where: { id: made.value.id },
      data: { lastUsedAt: new Date(Date.now() - 61_000) },
    });
    await authenticateToken(world.services, made.value.token);
    expect((await used()).lastUsedAt?.getTime()).toBeGreaterThan(Date.now() - 30_000);
  });

  it("ends with its revocation, whose time stays", async () => {
    const made = await createToken(ctx, { name: "old" });
    if (!made.ok) throw new Error(made.message);
    const first = await revokeToken(ctx, made.value.id);
    expect(await revokeToken(ctx, made.value.id)).toEqual(first);
    expect(await authenticateToken(world.services, made.value.token)).toMatchObject({
      ok: false,
      code: "token_revoked",
    });
  });

  it("is out of another organisation's reach", async () => {
    const made = await createToken(ctx, { name: "mine" });
    if (!made.ok) throw new Error(made.message);
    expect(await revokeToken(world.otherCtx, made.value.id)).toMatchObject({ ok: false, code: "token_not_found" });
    expect(await listTokens(world.otherCtx)).toEqual([]);
    expect((await authenticateToken(world.services, made.value.token)).ok).toBe(true);
    expect(await createToken(world.otherCtx, { name: "nobody is a member" })).toMatchObject({
      ok: false,
      code: "forbidden",
    });
  });

  it.each(["", "pb_", "pb_zz", `pb_${"0".repeat(64)}`, `pb_${"0".repeat(63)}'`, `xx_${"0".repeat(64)}`])(
    "does not know %j",
    async (bearer) => {
      expect(await authenticateToken(world.services, bearer)).toMatchObject({ ok: false, code: "token_invalid" });
    },
  );
});
