// A real, migrated database of its own for each test file.
import { randomUUID } from "node:crypto";
import pg from "pg";
import { createDb, type PrismaClient } from "./client.ts";
import { migrate } from "./migrate.ts";

export type TestDatabase = { url: string; db: PrismaClient; drop: () => Promise<void> };

/** On the server of DATABASE_URL, whatever database that names. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `core_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
  const url = urlOf(name);
  await migrate(url);
  const db = createDb(url);
  return {
    url,
    db,
    async drop() {
      await db.$disconnect();
      const admin = new pg.Client({ connectionString: urlOf("postgres") });
      await admin.connect();
      await admin.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
      await admin.end();
    },
  };
}

function urlOf(database: string): string {
  const url = new URL(process.env.DATABASE_URL ?? "postgresql://postgres@127.0.0.1:4610/grove");
  url.pathname = `/${database}`;
  return url.toString();
}
