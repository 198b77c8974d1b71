import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { startProcess, temporaryFolder } from "../testing/temporary.mjs";
import { takeLock } from "./lock.mjs";
import { identityOf, isAlive } from "./process-identity.mjs";

/** @param {Partial<import("./lock.mjs").Holder>} holder */
function staleLock(holder) {
  const file = path.join(temporaryFolder(), "grove.lock");
  const dead = { pid: 2 ** 22 + 1, identity: "boot:1", what: "npm start", since: "then", run: "old", children: [] };
  fs.writeFileSync(file, JSON.stringify({ ...dead, ...holder }));
  return file;
}

/** @param {Awaited<ReturnType<typeof takeLock>>} taken */
const lockOf = (taken) => ("lock" in taken ? taken.lock : null);
/**
 * @param {{ pid: number, identity: string }} process
 * @returns {import("./stop-processes.mjs").ChildRecord}
 */
const gateway = ({ pid, identity }) => ({ name: "gateway", pid, identity, phase: "apps", signal: "SIGTERM" });
const me = { what: "npm test", run: "new" };

describe("the lock of a data folder", () => {
  it("tells the second who holds it", async () => {
    const file = path.join(temporaryFolder(), "grove.lock");
    const first = await takeLock(file, { what: "npm run demo", run: "one" });
    const second = await takeLock(file, { what: "npm start", run: "two" });
    expect("heldBy" in second && second.heldBy).toMatchObject({ pid: process.pid, what: "npm run demo" });
    lockOf(first)?.release();
    expect(lockOf(await takeLock(file, me))).not.toBeNull();
  });

  it("is taken over from a process that was killed", async () => {
    expect(lockOf(await takeLock(staleLock({}), me))?.holder.run).toBe("new");
  });

  it("is taken over where the pid now belongs to somebody else, who is left alone", async () => {
    const stranger = await startProcess("sleep 30");
    const file = staleLock({ pid: stranger.pid, identity: "boot:1" });
    expect(lockOf(await takeLock(file, me))).not.toBeNull();
    expect(isAlive(stranger)).toBe(true);
  });

  it("stops the orphans of the killed run before it changes hands", async () => {
    const orphan = await startProcess("sleep 30");
    const child = gateway(orphan);
    const said = /** @type {string[]} */ ([]);
    await takeLock(staleLock({ children: [child] }), { ...me, say: (line) => said.push(line) });
    expect(isAlive(orphan)).toBe(false);
    expect(said.join()).toContain("gateway");
  });

  it("does not touch a process whose pid an orphan used to have", async () => {
    const stranger = await startProcess("sleep 30");
    const child = gateway({ pid: stranger.pid, identity: "boot:1" });
    await takeLock(staleLock({ children: [child] }), me);
    expect(isAlive(stranger)).toBe(true);
  });

  it.each(["", "{", "[]", '{"pid": 1}'])("is taken over where the file is damaged: %j", async (content) => {
    const file = path.join(temporaryFolder(), "grove.lock");
    fs.writeFileSync(file, content);
    expect(lockOf(await takeLock(file, me))).not.toBeNull();
  });

  it("goes to exactly one of many that find it stale at once", async () => {
    const file = staleLock({});
    const takers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => takeLock(file, { what: "npm start", run: String(index) })),
    );
    expect(takers.filter((taken) => "lock" in taken)).toHaveLength(1);
  });

  it("is not released by one who no longer holds it", async () => {
    const file = path.join(temporaryFolder(), "grove.lock");
    const lock = lockOf(await takeLock(file, { what: "npm start", run: "one" }));
    fs.writeFileSync(
      file,
      JSON.stringify({
        pid: process.pid,
        identity: identityOf(process.pid),
        what: "",
        since: "",
        run: "two",
        children: [],
      }),
    );
    lock?.release();
    expect(fs.existsSync(file)).toBe(true);
  });
});
