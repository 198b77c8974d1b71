import type { OrganisationView, SignUpInput, UserView } from "@grove/contracts/accounts";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { toSlug } from "@grove/contracts/names";
import type { Services } from "../context.ts";
import { hashPassword } from "./passwords.ts";

const FIRST_RUN_LOCK = 471_001; // held for one transaction: of two first sign-ups at once, one sees the other

export type SignedUp = { user: UserView; organisation: OrganisationView };

/** True until the first account exists. */
export async function isFirstRun(services: Services): Promise<boolean> {
  return (await services.db.user.findFirst({ select: { id: true } })) === null;
}

/** The first account makes the organisation and owns it. Later ones are refused until invitations exist. */
export async function signUp(
  services: Services,
  input: SignUpInput,
): Promise<Result<SignedUp, "email_taken" | "forbidden">> {
  const passwordHash = await hashPassword(input.password);
  return services.db.$transaction(async (tx) => {
    await tx.$executeRaw`SELECT pg_advisory_xact_lock(${FIRST_RUN_LOCK})`;
    const taken = await tx.user.findUnique({ where: { email: input.email }, select: { id: true } });
    if (taken)
      return fail("email_taken", "There is an account with this e-mail address. Sign in instead.", { field: "email" });
    if ((await tx.user.findFirst({ select: { id: true } })) !== null) {
      return fail("forbidden", "This installation has its first account already, and new ones need an invitation.");
    }
    const user = await tx.user.create({ data: { email: input.email, name: input.name, passwordHash } });
    const organisation = await tx.organisation.create({
      data: {
        name: input.organisation,
        slug: toSlug(input.organisation),
        memberships: { create: { userId: user.id, role: "owner" } },
      },
    });
    return ok({
      user: { id: user.id, email: user.email, name: user.name },
      organisation: { id: organisation.id, slug: organisation.slug, name: organisation.name },
    });
  });
}
