import { createHash, randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fail, ok, type Result } from "@grove/contracts/errors";
import { openAdapterFile } from "../../adapters/files.ts";
import type { OrgCtx } from "../../context.ts";
import type { RoutedAdapter } from "../authorize.ts";
import { readRefusal } from "../refusal.ts";
import { bearer, callServer, readBody } from "./http.ts";
import { unsupported } from "./native-parameters.ts";
import type { SettingOf } from "./setting.ts";
import { type Asked, contentName } from "./upstream.ts";

const weightFiles = ["adapter_config.json", "adapter_model.safetensors"] as const; // the hash is over these, in this order

/**
 * Adapters in a vLLM that was started with `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. Each is loaded once
 * under a name that holds its hash, so a name never changes its meaning; beyond the limit the one that was used longest
 * ago is unloaded.
 */
export class VllmAdapters {
  readonly #setting: SettingOf<"vllm">;
  readonly #loaded = new Map<string, Promise<Result<string, "generation_failed" | "serving_unavailable">>>();

  constructor(setting: SettingOf<"vllm">) {
    this.#setting = setting;
  }

  /** The name to prompt. A load that is under way is waited for by all who need it, and outlives a caller that leaves. */
  async ensure(ctx: OrgCtx, adapter: Pick<RoutedAdapter, "id" | "sha256">): Asked<string> {
    const folder = this.#setting.adapterFolder;
    if (folder === undefined) {
      return unsupported(
        "vllm",
        "adapter_id",
        "needs `adapterFolder` in GROVE_UPSTREAMS: a folder that vLLM reads too",
      );
    }
    const name = contentName(ctx, adapter);
    const loading = this.#loaded.get(name) ?? this.#load(ctx, adapter.sha256, name, folder);
    this.#loaded.delete(name); // and set again: the map's order is that of last use
    this.#loaded.set(name, loading);
    const loaded = await loading;
    if (!loaded.ok && this.#loaded.get(name) === loading) this.#loaded.delete(name);
    if (loaded.ok) await this.#unloadOldest();
    return loaded;
  }

  /** vLLM does not know the name any more: it was restarted, or another gateway unloaded it. */
  forget(name: string): void {
    this.#loaded.delete(name);
  }

  async #load(ctx: OrgCtx, sha256: string, name: string, folder: string) {
    const copied = await copyFiles(ctx, sha256, folder).catch((error: unknown) =>
      fail("generation_failed", `The adapter's files could not be copied for vLLM: ${String(error)}`),
    );
    if (!copied.ok) return copied;
    const body = { lora_name: name, lora_path: join(this.#setting.adapterFolderThere ?? folder, sha256) };
    const sent = await this.#post("/v1/load_lora_adapter", body);
    if (!sent.ok) return sent;
    if (sent.value.ok) return ok(name);
    const { message } = readRefusal(await readBody(sent.value));
    if (sent.value.status === 400 && message.includes("already been loaded")) return ok(name);
    return fail("generation_failed", `vLLM could not load the adapter: ${message}`);
  }

  async #unloadOldest(): Promise<void> {
    while (this.#loaded.size > this.#setting.maxLoadedAdapters) {
      const [oldest = ""] = this.#loaded.keys();
      this.#loaded.delete(oldest);
      await this.#post("/v1/unload_lora_adapter", { lora_name: oldest });
    }
  }

  #post(path: string, body: unknown): ReturnType<typeof callServer> {
    const { url, apiKey } = this.#setting;
    return callServer(
      url,
      { method: "POST", path, body, headers: bearer(apiKey) },
      AbortSignal.timeout(LOAD_TIMEOUT_MS),
    );
  }
}

const LOAD_TIMEOUT_MS = 60_000;

/** The folder appears under its hash by one rename, after the hash was found to be right. */
async function copyFiles(ctx: OrgCtx, sha256: string, folder: string): Promise<Result<null, "generation_failed">> {
  const there = join(folder, sha256);
  if (await exists(there)) return ok(null);
  const partial = join(folder, `.partial-${randomUUID()}`);
  await mkdir(partial, { recursive: true });
  try {
    const hash = createHash("sha256");
    for (const name of weightFiles) {
      const file = await openAdapterFile(ctx, sha256, name);
      if (file === null) return fail("generation_failed", "The adapter's files are no longer in the object store.");
      file.stream.on("data", (chunk: Buffer) => hash.update(chunk));
      await pipeline(file.stream, createWriteStream(join(partial, name)));
    }
    if (hash.digest("hex") !== sha256) return fail("generation_failed", "The adapter's files do not match its hash.");
    await rename(partial, there).catch(async (error: unknown) => {
      if (!(await exists(there))) throw error; // another prompt was first
    });
    return ok(null);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
