import path from "node:path";
import { nextBin } from "../bootstrap/web-build.mjs";
import { answersHttp } from "./health.mjs";

/**
 * @typedef {object} AppContext
 * @property {import("../lib/layout.mjs").Layout} layout
 * @property {NodeJS.ProcessEnv} env see environment.mjs
 * @property {boolean} dev
 */

/**
 * A TypeScript process. Node itself runs it, so signals and exit codes reach it without a wrapper in between.
 * @param {"gateway" | "worker"} name
 * @param {AppContext} context
 */
function typescriptApp(name, { layout, env, dev }) {
  const folder = path.join(layout.repo, "apps", name);
  return {
    name,
    command: process.execPath,
    args: ["--import", "tsx", "--enable-source-maps", path.join(folder, "src/main.ts")],
    cwd: folder,
    env: { ...env, NODE_ENV: dev ? "development" : "production" },
    phase: /** @type {const} */ ("apps"),
  };
}

/**
 * @param {AppContext} context
 * @returns {import("./service.mjs").ServiceSpec}
 */
export function gateway(context) {
  return {
    ...typescriptApp("gateway", context),
    ready: () => answersHttp(`${context.env.GROVE_GATEWAY_URL}/health`),
    readyMs: 60_000,
  };
}

/**
 * The worker opens no port: it says on its log that it listens.
 * @param {AppContext} context
 * @returns {import("./service.mjs").ServiceSpec}
 */
export function worker(context) {
  return {
    ...typescriptApp("worker", context),
    ready: async (saidSoFar) => /worker ready/i.test(saidSoFar()),
    readyMs: 60_000,
  };
}

/**
 * @param {AppContext} context
 * @returns {import("./service.mjs").ServiceSpec}
 */
export function serving({ layout, env }) {
  return {
    name: "serving",
    command: env.GROVE_PYTHON ?? "",
    args: ["-m", "serving", "--model", env.GROVE_BASE_MODEL_PATH ?? "", "--port", String(layout.ports.serving)],
    cwd: layout.repo,
    env,
    phase: "apps",
    ready: () => answersHttp(`${env.GROVE_SERVING_URL}/health`),
    readyMs: 180_000,
  };
}

/**
 * @param {AppContext} context
 * @returns {import("./service.mjs").ServiceSpec}
 */
export function web({ layout, env, dev }) {
  return {
    name: "web",
    command: process.execPath,
    args: [nextBin(layout.repo), dev ? "dev" : "start", "--hostname", "127.0.0.1", "--port", String(layout.ports.web)],
    cwd: path.join(layout.repo, "apps/web"),
    env: { ...env, NODE_ENV: dev ? "development" : "production" },
    phase: "apps",
    ready: () => answersHttp(`${env.GROVE_WEB_URL}/`),
    readyMs: dev ? 180_000 : 60_000,
  };
}
