import path from "node:path";
import type { NextConfig } from "next";

const securityHeaders = [
  { key: "X-Content-Type-Options", value: "nosniff" },
  { key: "X-Frame-Options", value: "DENY" },
  { key: "Referrer-Policy", value: "same-origin" },
  { key: "Permissions-Policy", value: "camera=(), microphone=(), geolocation=()" },
];

const config: NextConfig = {
  poweredByHeader: false,
  reactStrictMode: true,
  turbopack: { root: path.resolve(import.meta.dirname, "../..") },
  outputFileTracingRoot: path.resolve(import.meta.dirname, "../.."),
  typescript: { ignoreBuildErrors: true }, // `pnpm typecheck` checks them, once
  transpilePackages: [
    "@grove/api",
    "@grove/contracts",
    "@grove/core",
    "@grove/db",
    "@grove/queue",
    "@grove/storage",
    "@grove/ui",
  ],
  // native modules and drivers that must stay as node finds them
  serverExternalPackages: ["pg", "bullmq", "ioredis", "@node-rs/argon2", "@prisma/client", "@prisma/adapter-pg"],
  allowedDevOrigins: ["127.0.0.1", "localhost"],
  rewrites: async () => [{ source: "/favicon.ico", destination: "/icon.svg" }],
  headers: async () => [{ source: "/:path*", headers: securityHeaders }],
};
export default config;
