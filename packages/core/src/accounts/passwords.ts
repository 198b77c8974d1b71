import { hash, verify } from "@node-rs/argon2";

// argon2id is the library's default algorithm; 19 MiB, two passes and one lane are OWASP's first choice for it
const settings = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

export async function hashPassword(password: string): Promise<string> {
  return hash(password, settings);
}

let stranger: Promise<string> | undefined;

/** `null` for an account that does not exist: the same work is done, so that the time taken tells nothing. */
export async function verifyPassword(passwordHash: string | null, password: string): Promise<boolean> {
  stranger ??= hashPassword("nobody has this password");
  const matches = await verify(passwordHash ?? (await stranger), password);
  return matches && passwordHash !== null;
}
