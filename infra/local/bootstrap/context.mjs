/**
 * What every bootstrap step may use.
 * @typedef {object} BootstrapContext
 * @property {import("../lib/run.mjs").Run} run
 * @property {import("../lib/layout.mjs").Layout} layout
 * @property {NodeJS.ProcessEnv} toolEnv the environment of installers and compilers
 * @property {{ command: string, version: string }} python
 */
export {};
