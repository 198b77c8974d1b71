import { gateway, serving, web, worker } from "./apps.mjs";
import { migrateDatabase } from "./migrate.mjs";
import { preparePostgres } from "./postgres.mjs";
import { prepareRedis } from "./redis.mjs";
import { Service } from "./service.mjs";

/**
 * @typedef {object} StackContext
 * @property {import("../lib/run.mjs").Run} run
 * @property {import("../lib/layout.mjs").Layout} layout
 * @property {NodeJS.ProcessEnv} toolEnv
 * @property {NodeJS.ProcessEnv} stackEnv
 * @property {import("./secrets.mjs").Secrets} secrets
 * @property {{ postgres: boolean, redis: boolean }} embedded false where DATABASE_URL or REDIS_URL name one of the person's own
 * @property {boolean} dev
 * @property {boolean} durable false for test data, which need not survive a power cut
 * @property {Map<string, Service>} services filled as they start
 */

/**
 * @param {StackContext} context
 * @returns {import("../lib/steps.mjs").Step[]}
 */
export function dataSteps(context) {
  const { run, layout, toolEnv, secrets, embedded } = context;
  return [
    {
      name: "postgres",
      needs: ["node packages"],
      run: async () => {
        if (!embedded.postgres) return "DATABASE_URL of the environment is used";
        await startService(
          context,
          await preparePostgres({ run, layout, password: secrets.postgres, toolEnv, durable: context.durable }),
        );
        return `127.0.0.1:${layout.ports.postgres}`;
      },
    },
    {
      name: "redis",
      needs: ["python packages"],
      run: async () => {
        if (!embedded.redis) return "REDIS_URL of the environment is used";
        await startService(context, prepareRedis({ layout, password: secrets.redis, toolEnv }));
        return `127.0.0.1:${layout.ports.redis}`;
      },
    },
    { name: "migrations", needs: ["postgres"], run: () => migrateDatabase(run, layout, context.stackEnv) },
  ];
}

/**
 * @param {StackContext} context
 * @returns {import("../lib/steps.mjs").Step[]}
 */
export function appSteps(context) {
  const app = { layout: context.layout, env: context.stackEnv, dev: context.dev };
  const ready = ["migrations", "redis", "prisma client"];
  return [
    { name: "serving", needs: ["base model", "kernels"], run: () => startService(context, serving(app)) },
    { name: "gateway", needs: ready, run: () => startService(context, gateway(app)) },
    { name: "worker", needs: ready, run: () => startService(context, worker(app)) },
    { name: "web", needs: context.dev ? ready : [...ready, "web build"], run: () => startService(context, web(app)) },
  ];
}

/**
 * @param {StackContext} context
 * @param {import("./service.mjs").ServiceSpec} spec
 */
async function startService(context, spec) {
  const service = new Service(context.run, spec, context.layout.logs);
  context.services.set(spec.name, service);
  await service.start();
}
