import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate } from "./migrate.ts";

const name = `migrate_test_${process.pid}_${Date.now()}`;
const url = new URL(process.env.DATABASE_URL ?? "postgresql://postgres@127.0.0.1:4610/grove");
url.pathname = `/${name}`;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "migrations-"));
  await cp(join(import.meta.dirname, "../../../prisma/migrations"), folder, { recursive: true });
});

afterAll(async () => {
  await rm(folder, { recursive: true });
  const admin = new URL(url);
  admin.pathname = "/postgres";
  const client = new pg.Client({ connectionString: admin.toString() });
  await client.connect();
  await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
  await client.end();
});

describe("migrate", () => {
  it("lets three processes start at once on an absent database and applies each migration once", async () => {
    const applied = await Promise.all([1, 2, 3].map(() => migrate(url.toString(), folder)));
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1);
    expect(await migrate(url.toString(), folder)).toEqual([]);
  });

  it("refuses a migration that was edited after it was applied", async () => {
    const entries = await readdir(folder);
    const first = entries.filter((entry) => !entry.endsWith(".toml")).sort()[0] ?? "";
    await writeFile(join(folder, first, "migration.sql"), "-- edited");
    await expect(migrate(url.toString(), folder)).rejects.toThrow(`Migration ${first} was changed`);
  });
});
