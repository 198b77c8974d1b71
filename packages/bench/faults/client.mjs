import { setTimeout as sleep } from "node:timers/promises";

const PAUSE_MS = 250;
const ONE_CALL_MS = 15_000;

/**
 * The public REST API, as a careful script of a user calls it: what was not answered is asked again, with the same
 * idempotency key. A refusal (4xx) throws.
 * @param {{ gateway: string, token: string }} where
 */
export function openClient({ gateway, token }) {
  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {number} limitMs
   * @returns {Promise<any>}
   */
  async function call(path, init, limitMs) {
    const end = Date.now() + limitMs;
    for (;;) {
      const answer = await ask(path, init).catch((error) => ({ again: String(error.cause ?? error) }));
      if ("body" in answer) return answer.body;
      if (Date.now() > end)
        throw new Error(`${init.method} ${path}: no answer in ${limitMs / 1000} s: ${answer.again}`);
      await sleep(PAUSE_MS);
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @returns {Promise<{ body: any } | { again: string }>}
   */
  async function ask(path, init) {
    const headers = { authorization: `Bearer ${token}`, ...init.headers };
    const response = await fetch(`${gateway}${path}`, { ...init, headers, signal: AbortSignal.timeout(ONE_CALL_MS) });
    const text = await response.text();
    if (response.ok) return { body: JSON.parse(text) };
    if (response.status >= 500) return { again: `${response.status} ${text.slice(0, 200)}` };
    throw new Refused(`${init.method} ${path}: ${response.status} ${text}`);
  }

  return {
    /** @param {string} path */
    get: (path) => call(path, { method: "GET" }, 60_000),
    /**
     * @param {string} path
     * @param {unknown} body
     */
    post: (path, body) =>
      call(
        path,
        { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) },
        60_000,
      ),
    /**
     * @param {string} path
     * @param {string} text
     */
    upload: (path, text) =>
      call(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: text }, 60_000),
  };
}

/** @typedef {ReturnType<typeof openClient>} Client */

class Refused extends Error {}
