import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./generated/client.ts";

export type * from "./generated/client.ts";
export { Prisma, PrismaClient } from "./generated/client.ts";

/** One pool per process: pass the client on, do not make another. */
export function createDb(databaseUrl: string, connections = 10): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg({ connectionString: databaseUrl, max: connections }) });
}

/** True for the database's own refusal of a second row with the same unique key. */
export function isUniqueViolation(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === "P2002";
}
