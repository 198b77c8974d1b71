import "server-only";
import { signInInput } from "@grove/contracts/accounts";
import { signIn } from "@grove/core/accounts/sign-in";
import type { NextAuthOptions } from "next-auth";
import CredentialsProvider from "next-auth/providers/credentials";
import { env } from "./env";
import { services } from "./services";
import { createSignInLimit } from "./sign-in-limit";

const limit = createSignInLimit(Date.now);

function addressOf(headers: Record<string, unknown> | undefined): string {
  const forwarded = headers?.["x-forwarded-for"];
  return typeof forwarded === "string" ? (forwarded.split(",")[0]?.trim() ?? "unknown") : "unknown";
}

const credentials = CredentialsProvider({
  name: "password",
  credentials: { email: {}, password: {} },
  async authorize(given, request) {
    const input = signInInput.safeParse({ email: given?.email, password: given?.password });
    if (!input.success) return null;
    const address = addressOf(request.headers);
    const wait = limit.secondsToWait(input.data.email, address);
    if (wait > 0) throw new Error(`wait-${wait}`); // next-auth hands the message to the sign-in page as `error`
    const result = await signIn(services(), input.data);
    if (!result.ok) {
      limit.failed(input.data.email, address);
      return null;
    }
    limit.succeeded(input.data.email, address);
    const { id, email, name } = result.value.user;
    return { id, email, name };
  },
});

/** A function, since the secret is known at the first request and not at the build. */
export function authOptions(): NextAuthOptions {
  return {
    secret: env().NEXTAUTH_SECRET,
    session: { strategy: "jwt", maxAge: 14 * 86_400 },
    pages: { signIn: "/sign-in", error: "/sign-in" },
    providers: [credentials],
    callbacks: { session: ({ session, token }) => ({ ...session, userId: token.sub ?? "" }) },
  };
}
