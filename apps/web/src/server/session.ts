import "server-only";
import { loadOrgCtx } from "@grove/core/accounts/sign-in";
import type { OrgCtx } from "@grove/core/context";
import { getServerSession } from "next-auth";
import { authOptions } from "./auth";
import { services } from "./services";

/** The signed-in member, read again for every request: a deleted account is out at once. */
export async function currentOrg(): Promise<OrgCtx | null> {
  const session = await getServerSession(authOptions());
  if (session === null || session.userId === "") return null;
  return loadOrgCtx(services(), session.userId);
}

export async function currentUser(): Promise<{ name: string; email: string } | null> {
  const session = await getServerSession(authOptions());
  return session === null ? null : { name: session.user?.name ?? "", email: session.user?.email ?? "" };
}
