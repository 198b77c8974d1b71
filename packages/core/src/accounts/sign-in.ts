import type { OrganisationView, SignInInput, UserView } from "@grove/contracts/accounts";
import { fail, ok, type Result } from "@grove/contracts/errors";
import type { OrgCtx, Services } from "../context.ts";
import { verifyPassword } from "./passwords.ts";

export type SignedIn = { user: UserView; organisation: OrganisationView };

/** An unknown address, a wrong password and an account of no organisation are one answer, after the same work. */
export async function signIn(services: Services, input: SignInInput): Promise<Result<SignedIn, "wrong_password">> {
  const user = await services.db.user.findUnique({
    where: { email: input.email },
    include: { memberships: { include: { org: true }, orderBy: { createdAt: "asc" }, take: 1 } },
  });
  const matches = await verifyPassword(user?.passwordHash ?? null, input.password);
  const org = user?.memberships[0]?.org;
  if (!matches || !user || !org) return fail("wrong_password", "E-mail address or password is wrong.");
  return ok({
    user: { id: user.id, email: user.email, name: user.name },
    organisation: { id: org.id, slug: org.slug, name: org.name },
  });
}

/** What a signed-in user may act as; null once the account or its membership is gone. */
export async function loadOrgCtx(services: Services, userId: string): Promise<OrgCtx | null> {
  const membership = await services.db.membership.findFirst({
    where: { userId },
    include: { org: true },
    orderBy: { createdAt: "asc" },
  });
  if (!membership) return null;
  return { ...services, orgId: membership.orgId, orgSlug: membership.org.slug, actor: { kind: "user", userId } };
}
