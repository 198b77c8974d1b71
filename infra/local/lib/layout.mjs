import fs from "node:fs";
import path from "node:path";
import { Failure } from "./failure.mjs";

export const repo = path.resolve(import.meta.dirname, "../../..");

/** Where each part listens, counted from GROVE_PORT_BASE. */
const offsets = { web: 0, gateway: 1, serving: 2, postgres: 10, redis: 11 };

/**
 * @typedef {object} Layout
 * @property {string} repo
 * @property {string} data the data folder
 * @property {string} logs
 * @property {string} store
 * @property {string} models
 * @property {string} lockFile
 * @property {number} portBase
 * @property {Record<keyof typeof offsets, number>} ports
 */

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {{ data?: string }} [defaults]
 * @returns {Layout}
 */
export function layoutFrom(env, defaults = {}) {
  const data = real(path.resolve(repo, env.GROVE_DATA || (defaults.data ?? ".data")));
  const portBase = portBaseFrom(env.GROVE_PORT_BASE || "4600");
  const ports = { web: portBase, gateway: portBase, serving: portBase, postgres: portBase, redis: portBase };
  for (const name of /** @type {(keyof typeof offsets)[]} */ (Object.keys(offsets)))
    ports[name] = portBase + offsets[name];
  return {
    repo,
    data,
    logs: path.join(data, "logs"),
    store: path.join(data, "store"),
    models: path.resolve(repo, env.GROVE_MODELS || ".data/models"),
    lockFile: path.join(data, "grove.lock"),
    portBase,
    ports,
  };
}

/** @param {string} text */
function portBaseFrom(text) {
  const base = Number(text);
  if (!Number.isInteger(base) || base < 1024 || base > 65_500) {
    throw new Failure(`GROVE_PORT_BASE is ${JSON.stringify(text)}.`, {
      advice: "Give a whole number from 1024 to 65500; Grove uses five ports from there up to eleven above it.",
    });
  }
  return base;
}

/**
 * The same folder by two names must be the same lock.
 * @param {string} folder
 */
function real(folder) {
  fs.mkdirSync(folder, { recursive: true });
  return fs.realpathSync(folder);
}
