import type { OrgCtx, Services } from "@grove/core/context";

/** Made by the app for each request; `org` is null for a visitor who has not signed in. */
export type ApiContext = { services: Services; org: OrgCtx | null };
