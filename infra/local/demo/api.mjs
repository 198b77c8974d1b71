import fs from "node:fs";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, Stopped } from "../lib/failure.mjs";

const TRIES = 5;
const PAUSE_MS = 1_000;

/**
 * The gateway's public REST API, as a script of the reader would use it. A refusal becomes a Failure with the API's own words.
 * @typedef {ReturnType<typeof openApi>} Api
 * @param {{ gateway: string, token: string, signal: AbortSignal }} where
 */
export function openApi({ gateway, token, signal }) {
  const authorization = `Bearer ${token}`;

  /**
   * @param {string} path
   * @param {RequestInit & { duplex?: "half" }} init
   * @returns {Promise<any>}
   */
  async function call(path, init) {
    for (let tried = 1; ; tried += 1) {
      try {
        const response = await fetch(`${gateway}${path}`, {
          ...init,
          signal,
          headers: { authorization, ...init.headers },
        });
        const body = await response.json();
        if (response.ok) return body;
        const again = init.method === "GET" && response.status >= 500 && tried < TRIES;
        if (!again) throw new Failure(`${init.method} ${path}: ${messageIn(body)}`);
      } catch (error) {
        if (signal.aborted) throw new Stopped();
        if (error instanceof Failure || init.method !== "GET" || tried === TRIES) throw error;
      }
      await pause(PAUSE_MS * tried, signal);
    }
  }

  return {
    /** @param {string} path */
    get: (path) => call(path, { method: "GET" }),
    /**
     * @param {string} path
     * @param {unknown} body
     */
    post: (path, body) =>
      call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    /**
     * Streams, so that a file of any size can be sent.
     * @param {string} path
     * @param {string} file
     */
    upload: (path, file) =>
      call(path, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: /** @type {ReadableStream} */ (Readable.toWeb(fs.createReadStream(file))),
        duplex: "half",
      }),
    signal,
  };
}

/** @param {any} body */
function messageIn(body) {
  const error = body?.error;
  return typeof error === "string" ? error : (error?.message ?? "refused without a reason");
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 */
export async function pause(ms, signal) {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw new Stopped();
  }
}
