import type { CoreSettings } from "@grove/core/context";
import { loadCoreSettings } from "@grove/core/settings";
import { z } from "zod";

const gatewayEnv = z.object({
  GROVE_GATEWAY_HOST: z.string().min(1).default("127.0.0.1"),
  GROVE_GATEWAY_PORT: z.coerce.number().int().min(0).max(65_535).optional(), // absent: the port of GROVE_GATEWAY_URL
});

export type GatewaySettings = { core: CoreSettings; host: string; port: number };

export function loadGatewaySettings(env: Record<string, string | undefined> = process.env): GatewaySettings {
  const core = loadCoreSettings(env);
  const parsed = gatewayEnv.safeParse(env);
  if (!parsed.success) throw new Error(`The environment is not complete:\n${z.prettifyError(parsed.error)}`);
  const url = new URL(core.gatewayUrl);
  const portOfUrl = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  return { core, host: parsed.data.GROVE_GATEWAY_HOST, port: parsed.data.GROVE_GATEWAY_PORT ?? portOfUrl };
}
