import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { CoreSettings } from "../context.ts";

const NONCE = 12;
const TAG = 16;

/** A secret of a person, for the row `about` alone: AES-256-GCM under a key made from the installation's secret. */
export function seal(
  settings: Pick<CoreSettings, "internalSecret">,
  about: string,
  secret: string,
): Uint8Array<ArrayBuffer> {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv("aes-256-gcm", keyOf(settings), nonce).setAAD(Buffer.from(about));
  const sealed = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return new Uint8Array(Buffer.concat([nonce, cipher.getAuthTag(), sealed]));
}

/** Throws where it was sealed for another row or by an installation with another secret. */
export function unseal(settings: Pick<CoreSettings, "internalSecret">, about: string, sealed: Uint8Array): string {
  const bytes = Buffer.from(sealed);
  const decipher = createDecipheriv("aes-256-gcm", keyOf(settings), bytes.subarray(0, NONCE))
    .setAAD(Buffer.from(about))
    .setAuthTag(bytes.subarray(NONCE, NONCE + TAG));
  return Buffer.concat([decipher.update(bytes.subarray(NONCE + TAG)), decipher.final()]).toString("utf8");
}

function keyOf({ internalSecret }: Pick<CoreSettings, "internalSecret">): Buffer {
  return Buffer.from(hkdfSync("sha256", internalSecret, "", "grove hub token", 32));
}
