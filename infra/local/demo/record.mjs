import { readIfThere, writeAtomically } from "../lib/files.mjs";

/**
 * What `demo.json` in the data folder tells scripts. Mode 0600: it holds a password and a token.
 * @typedef {object} DemoRecord
 * @property {string} dashboardUrl
 * @property {string} gatewayUrl
 * @property {string} servingUrl
 * @property {string} tenant
 * @property {string} apiToken
 * @property {string} email
 * @property {string} password empty where somebody signed up before the demo
 * @property {string} baseModel
 * @property {{ id: string, task: string, examplePrompt: string, score: number, baseScore: number }[]} adapters of the last run
 */

/**
 * @param {string} file
 * @returns {DemoRecord | null} null where there is none, or where it was damaged
 */
export function readRecord(file) {
  try {
    const record = JSON.parse(readIfThere(file) ?? "null");
    return typeof record?.apiToken === "string" && Array.isArray(record.adapters) ? record : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} file
 * @param {DemoRecord} record
 */
export function writeRecord(file, record) {
  writeAtomically(file, `${JSON.stringify(record, null, 2)}\n`, 0o600);
}
