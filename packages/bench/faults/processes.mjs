import fs from "node:fs";
import { commandOf, identityOf, processesMarked } from "../../../infra/local/lib/process-identity.mjs";

/** @typedef {import("./plan.mjs").Target} Target */

const looks = {
  worker: /apps\/worker\/src\/main\.ts/,
  gateway: /apps\/gateway\/src\/main\.ts/,
  redis: /redis-server/,
  postgres: /postgres.* -D /,
};

/** @returns {Map<number, number[]>} the children of each process, by pid */
function children() {
  /** @type {Map<number, number[]>} */
  const found = new Map();
  for (const name of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat === null || stat.state === "Z") continue;
    found.set(stat.parent, [...(found.get(stat.parent) ?? []), Number(name)]);
  }
  return found;
}

/** @param {number} pid */
function readStat(pid) {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = "0"] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}

/**
 * The process of a service of ours, and all that descend from it; empty where there is none right now.
 * @param {Target} target
 * @returns {number[]} the leader first
 */
export function familyOf(target) {
  const all = children();
  const leader = target === "trainer" ? trainerIn(all) : serviceIn(all, target);
  if (leader === null) return [];
  const family = [leader];
  for (const pid of family) family.push(...(all.get(pid) ?? []));
  return family;
}

/**
 * @param {Map<number, number[]>} all
 * @param {Exclude<Target, "trainer">} target
 */
function serviceIn(all, target) {
  return (all.get(process.pid) ?? []).find((pid) => looks[target].test(commandOf(pid))) ?? null;
}

/** @param {Map<number, number[]>} all */
function trainerIn(all) {
  const worker = serviceIn(all, "worker");
  if (worker === null) return null;
  return (all.get(worker) ?? []).find((pid) => commandOf(pid).includes("-m trainer run")) ?? null;
}

/**
 * Trainers of this stack, whoever their parent is by now.
 * @param {string} data
 */
export function trainersOf(data) {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && identityOf(Number(name)) !== null)
    .map((name) => ({ pid: Number(name), command: commandOf(Number(name)) }))
    .filter(({ command }) => command.includes("-m trainer") && command.includes(data));
}

/**
 * What still lives of a run after its end.
 * @param {string} run
 * @param {string} data
 */
export function leftOver(run, data) {
  const marked = processesMarked(`GROVE_RUN=${run}`).map(({ pid }) => ({ pid, command: commandOf(pid) }));
  return [...marked, ...trainersOf(data)];
}
