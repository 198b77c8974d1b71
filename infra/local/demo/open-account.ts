// Run by account.mjs with the stack's environment and a sign-up on stdin: makes the first account if there is none, and an API token.
import { text } from "node:stream/consumers";
import { signUpInput } from "../../../packages/contracts/src/accounts.ts";
import { signUp } from "../../../packages/core/src/accounts/sign-up.ts";
import { createToken } from "../../../packages/core/src/accounts/tokens.ts";
import { closeServices, createServices } from "../../../packages/core/src/context.ts";
import { loadCoreSettings } from "../../../packages/core/src/settings.ts";

const services = createServices(loadCoreSettings(process.env));
try {
  const input = signUpInput.parse(JSON.parse(await text(process.stdin)));
  await signUp(services, input); // refused where an account exists: then its organisation gets the token
  const membership = await services.db.membership.findFirstOrThrow({
    where: { role: "owner" },
    include: { org: true, user: true },
    orderBy: { createdAt: "asc" },
  });
  const { org, user } = membership;
  const token = await createToken(
    { ...services, orgId: org.id, orgSlug: org.slug, actor: { kind: "user", userId: user.id } },
    { name: "npm run demo" },
  );
  if (!token.ok) throw new Error(token.message);
  console.log(JSON.stringify({ email: user.email, tenant: org.slug, apiToken: token.value.token }));
} finally {
  await closeServices(services);
}
