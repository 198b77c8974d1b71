import { execFileSync } from "node:child_process";
import fs from "node:fs";

// A pid alone does not name a process: after a crash or a reboot the number may belong to somebody else. The pid with
// its start time does, and every signal that we send to a process we did not start in this run is guarded by it.

/** @returns {string} */
function bootId() {
  try {
    return fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

/**
 * @param {number} pid
 * @returns {string | null} null where no such process runs (one that ended and waits for its parent counts as ended)
 */
export function identityOf(pid) {
  return process.platform === "linux" ? fromProc(pid) : fromPs(pid);
}

/** @param {number} pid */
function fromProc(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // the second field is the command in brackets, and may itself hold spaces and brackets
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const state = fields[0] ?? "";
    if (state === "Z" || state === "X") return null;
    return `${bootId()}:${fields[19]}`;
  } catch {
    return null;
  }
}

/** @param {number} pid */
function fromPs(pid) {
  try {
    const line = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [state = "", ...started] = line.trim().split(/\s+/);
    return state === "" || state.startsWith("Z") ? null : started.join(" ");
  } catch {
    return null;
  }
}

/**
 * @param {{ pid: number, identity: string }} known
 * @returns {boolean}
 */
export function isAlive(known) {
  return identityOf(known.pid) === known.identity;
}

/**
 * @param {number} pid
 * @returns {string} what a person would see in ps, or an empty string
 */
export function commandOf(pid) {
  try {
    if (process.platform === "linux") {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    }
    return execFileSync("ps", ["-o", "command=", "-p", String(pid)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "";
  }
}

/**
 * Processes whose environment carries a mark. It finds what a killed child had itself started (a trainer of a killed
 * worker). Linux only: elsewhere the process groups must do.
 * @param {string} mark `NAME=value`
 * @returns {{ pid: number, identity: string }[]}
 */
export function processesMarked(mark) {
  if (process.platform !== "linux") return [];
  const found = [];
  for (const name of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      if (!`\0${fs.readFileSync(`/proc/${name}/environ`, "latin1")}`.includes(`\0${mark}\0`)) continue;
    } catch {
      continue;
    }
    const identity = identityOf(Number(name));
    if (identity !== null) found.push({ pid: Number(name), identity });
  }
  return found;
}
