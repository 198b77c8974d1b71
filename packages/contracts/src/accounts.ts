import { z } from "zod";
import { displayName } from "./names.ts";

export const email = z
  .email("This is not an e-mail address.")
  .max(254)
  .transform((text) => text.toLowerCase());
export const password = z.string().min(10, "Use at least 10 characters.").max(200);

/** The first account of an installation makes the organisation and owns it. */
export const signUpInput = z.strictObject({
  email,
  password,
  name: displayName,
  organisation: displayName,
});
export type SignUpInput = z.infer<typeof signUpInput>;

export const signInInput = z.strictObject({ email, password: z.string().min(1).max(200) });
export type SignInInput = z.infer<typeof signInInput>;

export const createTokenInput = z.strictObject({ name: displayName });
export type CreateTokenInput = z.infer<typeof createTokenInput>;

export type UserView = { id: string; email: string; name: string };
export type OrganisationView = { id: string; slug: string; name: string };
export type TokenView = {
  id: string;
  name: string;
  prefix: string; // "pb_1a2b3c4d", shown in lists
  createdAt: Date;
  lastUsedAt: Date | null;
  revokedAt: Date | null;
};
/** The only answer that ever holds the whole token. */
export type CreatedToken = TokenView & { token: string };
