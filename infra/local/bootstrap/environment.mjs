import path from "node:path";

/** Quiet tools that ask nothing, send nothing home and never wait for a person. */
const quiet = {
  NEXT_TELEMETRY_DISABLED: "1",
  TURBO_TELEMETRY_DISABLED: "1",
  CHECKPOINT_DISABLE: "1",
  DO_NOT_TRACK: "1",
  PIP_DISABLE_PIP_VERSION_CHECK: "1",
  npm_config_update_notifier: "false",
  npm_config_fund: "false",
  npm_config_audit: "false",
};

/**
 * The environment of installers: the person's own (proxies, registries, certificates) without what npm adds for the
 * script that called us, which pnpm and pip would take for settings.
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
export function toolEnvironment(env) {
  /** @type {NodeJS.ProcessEnv} */
  const kept = { ...env };
  for (const name of Object.keys(kept)) {
    if (/^npm_(package|lifecycle|config_local_prefix|config_prefix|command|execpath|node_execpath)/.test(name))
      delete kept[name];
  }
  delete kept.NODE_ENV;
  delete kept.PYTHONHOME;
  delete kept.VIRTUAL_ENV;
  return { ...kept, ...quiet };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} repo
 * @returns {NodeJS.ProcessEnv}
 */
export function pythonEnvironment(env, repo) {
  return {
    ...env,
    PYTHONPATH: ["apps/trainer", "apps/serving", "packages/lora-py"].map((folder) => path.join(repo, folder)).join(":"),
    PYTHONUNBUFFERED: "1",
    // a torch process that waits in a spin loop takes the core that its neighbour needs
    OMP_WAIT_POLICY: "PASSIVE",
    TOKENIZERS_PARALLELISM: "false",
    HF_HUB_DISABLE_TELEMETRY: "1",
  };
}
