import { seeded } from "./random.mjs";

/**
 * @typedef {"alone-adamw" | "alone-lion" | "sweep"} Work
 * @typedef {"create" | "upload" | "queued" | "preparing" | "training" | "publishing"} Moment
 * @typedef {"trainer" | "worker" | "redis" | "postgres" | "gateway"} Target
 * @typedef {{ act: "kill" | "stop", target: Target } | { act: "fill", target: "work" | "data" } | { act: "diverge", target: "job" }} Fault
 * @typedef {{ round: number, fault: Fault, work: Work, moment: Moment, at: number }} Plan `at` from 0 to 1: how far into the moment
 */

const kill = (/** @type {Target} */ target) => ({ act: /** @type {const} */ ("kill"), target });
const stop = (/** @type {Target} */ target) => ({ act: /** @type {const} */ ("stop"), target });

/** One turn through these is shuffled and followed by the next one. @type {Fault[]} */
export const faults = [
  ...["trainer", "trainer", "trainer", "trainer"].map(() => kill("trainer")),
  ...["worker", "worker", "worker"].map(() => kill("worker")),
  kill("redis"),
  kill("redis"),
  kill("postgres"),
  kill("postgres"),
  kill("gateway"),
  stop("trainer"),
  stop("worker"),
  stop("redis"),
  stop("postgres"),
  { act: "fill", target: "work" },
  { act: "fill", target: "data" },
  { act: "diverge", target: "job" },
  { act: "diverge", target: "job" },
];

/** @type {Record<Fault["target"], Moment[]>} */
const moments = {
  trainer: ["training"],
  worker: ["create", "upload", "queued", "preparing", "training", "training", "training", "publishing", "publishing"],
  redis: ["create", "create", "queued", "preparing", "training", "publishing"],
  postgres: ["create", "upload", "queued", "preparing", "training", "training", "publishing", "publishing"],
  gateway: ["create", "create", "upload", "queued", "training"],
  work: ["preparing", "training", "training", "publishing"],
  data: ["create", "training", "training", "publishing"],
  job: ["create"],
};

/** @param {Fault} fault */
export function nameOf(fault) {
  if (fault.act === "fill") return fault.target === "work" ? "disk full (jobs' folder)" : "disk full (everything)";
  if (fault.act === "diverge") return "NaN";
  return `${fault.act === "kill" ? "SIGKILL" : "SIGSTOP"} ${fault.target}`;
}

/**
 * What the rounds strike, the same for the same seed whatever happened in the rounds before.
 * @param {number} seed
 * @param {{ disks: boolean }} can whether a disk can be filled here
 * @returns {(round: number) => Plan} rounds count from 1
 */
export function plannerOf(seed, can) {
  const usable = faults.filter((fault) => can.disks || fault.act !== "fill");
  return (round) => {
    const turn = Math.floor((round - 1) / usable.length);
    const fault = /** @type {Fault} */ (seeded(seed * 7919 + turn).shuffle(usable)[(round - 1) % usable.length]);
    const chance = seeded(seed * 104_729 + round);
    const work = chance.pick(/** @type {Work[]} */ (["alone-adamw", "alone-lion", "sweep"]));
    return { round, fault, work, moment: chance.pick(moments[fault.target]), at: chance.next() };
  };
}
