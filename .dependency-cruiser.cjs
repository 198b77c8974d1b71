// Who may import whom: apps → packages/api → packages/core → packages/{db,queue,storage} → packages/contracts.
// Node's own modules and registry packages are not judged here, only edges inside the repository.

const tests = "\\.(test|e2e)\\.[cm]?[jt]sx?$|/testing[a-z-]*\\.ts$|/e2e/";
const packages = (...names) => `^packages/(${names.join("|")})/`;

/** A layer may use what is named, and nothing else of ours. */
const layer = (name, mayUse) => ({
  name: `layer-${name}`,
  comment: `packages/${name} may import ${mayUse.length === 0 ? "no other package of ours" : mayUse.join(", ")} only`,
  severity: "error",
  from: { path: packages(name), pathNot: tests },
  to: { path: "^(packages|apps)/", pathNot: packages(name, ...mayUse) },
});

module.exports = {
  forbidden: [
    {
      name: "no-cycle",
      comment: "two files that need each other are one subject, or hide a third",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "nothing-imports-an-app",
      severity: "error",
      from: { path: "^(packages|infra)/" },
      to: { path: "^apps/" },
    },
    {
      name: "apps-stand-alone",
      comment: "processes talk over HTTP, queues and files",
      severity: "error",
      from: { path: "^apps/([^/]+)/" },
      to: { path: "^apps/", pathNot: "^apps/$1/" },
    },
    layer("contracts", []),
    layer("config", []),
    layer("db", ["contracts", "config"]),
    layer("queue", ["contracts", "config"]),
    layer("storage", ["contracts", "config"]),
    layer("core", ["contracts", "config", "db", "queue", "storage"]),
    layer("api", ["contracts", "config", "db", "queue", "storage", "core"]),
    layer("ui", ["contracts", "config"]),
    layer("sdk", ["contracts", "config"]),
    layer("cli", ["contracts", "config", "sdk"]),
    {
      name: "ui-knows-types-only",
      comment: "components draw ready data: from contracts they import types, no code",
      severity: "error",
      from: { path: "^packages/ui/", pathNot: tests },
      to: { path: "^packages/contracts/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "browser-reaches-core-through-trpc",
      comment: "code that runs in a browser must not carry the database, the queue or the store",
      severity: "error",
      from: { path: "^apps/web/src/(features|components|lib)/", pathNot: tests },
      to: { path: packages("core", "db", "queue", "storage") },
    },
    {
      name: "browser-takes-types-of-the-server",
      severity: "error",
      from: { path: "^apps/web/src/(features|components|lib)/", pathNot: tests },
      to: { path: "^(apps/web/src/server|packages/api)/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "code-does-not-import-tests",
      severity: "error",
      from: { pathNot: `${tests}|^infra/local/testing/|vitest\\.` },
      to: { path: tests },
    },
    {
      name: "every-import-resolves",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/\\.venv|/generated/|/\\.next/|next-env\\.d\\.ts" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" }, // for the "@/" paths of apps/web
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "default", "types"],
      extensions: [".ts", ".tsx", ".mjs", ".js", ".cjs", ".json", ".css"],
      mainFields: ["module", "main", "types"],
    },
  },
};
