import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileSystemStore } from "./file-system.ts";
import { readText } from "./object-store.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "grove-store-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function* chunks(...texts: string[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

function filesLeft(): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name);
}

test("an object comes back with its size and hash, whole and by range", async () => {
  const store = fileSystemStore(root);
  const put = await store.put("a/b.txt", chunks("hello ", "world"));
  expect(put).toEqual({
    ok: true,
    value: { bytes: 11, sha256: createHash("sha256").update("hello world").digest("hex") },
  });
  expect(await readText(store, "a/b.txt")).toBe("hello world");
  const part = await store.get("a/b.txt", { start: 6, end: 8 });
  expect(Buffer.concat((await part?.toArray()) ?? []).toString()).toBe("wor");
  expect((await store.head("a/b.txt"))?.bytes).toBe(11);
});

test("an absent object is null, not an exception", async () => {
  const store = fileSystemStore(root);
  expect(await store.get("a/none")).toBeNull();
  expect(await store.head("a/none")).toBeNull();
  await store.delete("a/none");
});

test.each(["../x", "a/../b", "/etc/passwd", "a//b", "", ".partial/x", "a/\0", "a/b/", "a\\b"])(
  "key %j is refused",
  async (key) => {
    const store = fileSystemStore(root);
    await expect(store.put(key, chunks("x"))).rejects.toThrow("Not an object key");
  },
);

test("an upload that breaks off leaves nothing behind, and the object before it stays", async () => {
  const store = fileSystemStore(root);
  await store.put("a", chunks("old"));
  async function* broken(): AsyncIterable<Uint8Array> {
    yield Buffer.from("new");
    throw new Error("socket hang up");
  }
  expect(await store.put("a", broken())).toMatchObject({ ok: false, code: "upload_interrupted" });
  expect(await readText(store, "a")).toBe("old");
  expect(filesLeft()).toEqual(["a"]);
});

test("an upload over the limit is refused in mid-stream, leaves nothing, and the sender is let go", async () => {
  const store = fileSystemStore(root);
  let released = false;
  async function* endless(): AsyncIterable<Uint8Array> {
    try {
      for (;;) yield Buffer.alloc(1000);
    } finally {
      released = true;
    }
  }
  expect(await store.put("big", endless(), { maxBytes: 10_000 })).toMatchObject({
    ok: false,
    code: "upload_too_large",
  });
  expect(released).toBe(true);
  expect(filesLeft()).toEqual([]);
});

test("list and deletePrefix take a folder and nothing beside it", async () => {
  const store = fileSystemStore(root);
  for (const key of ["d/1/x", "d/1/y/z", "d/10/x"]) await store.put(key, chunks(key));
  const keys: string[] = [];
  for await (const entry of store.list("d/1/")) keys.push(entry.key);
  expect(keys).toEqual(["d/1/x", "d/1/y/z"]);
  await store.deletePrefix("d/1/");
  expect(await store.head("d/1/x")).toBeNull();
  expect(await store.head("d/10/x")).not.toBeNull();
});

test("200 MB stream through without being held in memory", async () => {
  const store = fileSystemStore(root);
  const chunk = Buffer.alloc(1 << 20, 7);
  async function* source(): AsyncIterable<Uint8Array> {
    for (let i = 0; i < 200; i++) yield chunk;
  }
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 5);
  const put = await store.put("big", source());
  clearInterval(watch);
  expect(put).toMatchObject({ ok: true, value: { bytes: 200 << 20 } });
  expect(peak - before).toBeLessThan(60 << 20);
}, 20_000);

function mountSmallDisk(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

test("a full disk is storage_full and leaves nothing", async (context) => {
  if (!mountSmallDisk(root)) return context.skip("mounting a small disk needs root");
  try {
    const store = fileSystemStore(root);
    const put = await store.put(
      "big",
      chunks(
        ..."x"
          .repeat(40)
          .split("")
          .map((c) => c.repeat(10_000)),
      ),
    );
    expect(put).toMatchObject({ ok: false, code: "storage_full" });
    expect(filesLeft()).toEqual([]);
    expect(await store.put("small", chunks("fits"))).toMatchObject({ ok: true });
  } finally {
    execFileSync("umount", [root]);
  }
});
