import path from "node:path";
import { pythonEnvironment } from "../bootstrap/environment.mjs";
import { pythonPaths } from "../bootstrap/python-packages.mjs";

export const defaultBaseModel = "smollm2-135m-instruct";
// Scripts on this machine may prompt the demo's adapters at serving's own address without a token, as they would a LoRAX server.
const demoTenant = "demo";

/**
 * @typedef {NodeJS.ProcessEnv & {
 *   DATABASE_URL: string, REDIS_URL: string, GROVE_WEB_URL: string, GROVE_GATEWAY_URL: string, GROVE_SERVING_URL: string,
 *   GROVE_BASE_MODEL_PATH: string
 * }} StackEnvironment
 */

/**
 * The one environment that every process of the stack gets.
 * @param {NodeJS.ProcessEnv} tools see bootstrap/environment.mjs
 * @param {import("../lib/layout.mjs").Layout} layout
 * @param {import("./secrets.mjs").Secrets} secrets
 * @returns {StackEnvironment}
 */
export function stackEnvironment(tools, layout, secrets) {
  const { ports, data, repo } = layout;
  const web = `http://127.0.0.1:${ports.web}`;
  const baseModel = tools.GROVE_BASE_MODEL || defaultBaseModel;
  return {
    ...pythonEnvironment(tools, repo),
    DATABASE_URL: tools.DATABASE_URL || `postgresql://postgres:${secrets.postgres}@127.0.0.1:${ports.postgres}/grove`,
    REDIS_URL: tools.REDIS_URL || `redis://:${secrets.redis}@127.0.0.1:${ports.redis}/0`,
    GROVE_DATA: data,
    GROVE_STORAGE_DIR: layout.store,
    GROVE_INTERNAL_SECRET: secrets.internal,
    NEXTAUTH_SECRET: secrets.nextauth,
    NEXTAUTH_URL: web,
    GROVE_WEB_URL: web,
    GROVE_GATEWAY_URL: `http://127.0.0.1:${ports.gateway}`,
    GROVE_SERVING_URL: `http://127.0.0.1:${ports.serving}`,
    GROVE_DEFAULT_TENANT: tools.GROVE_DEFAULT_TENANT ?? demoTenant,
    GROVE_WEB_PORT: String(ports.web),
    GROVE_GATEWAY_PORT: String(ports.gateway),
    GROVE_SERVING_PORT: String(ports.serving),
    GROVE_BASE_MODEL: baseModel,
    GROVE_BASE_MODEL_PATH: tools.GROVE_BASE_MODEL_PATH || path.join(layout.models, baseModel),
    GROVE_PYTHON: pythonPaths(repo).python,
  };
}
