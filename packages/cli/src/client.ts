import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { CliError } from "./failure.ts";

const refusal = z.object({ error: z.looseObject({ code: z.string(), message: z.string() }) });

export type Ask = { method?: "GET" | "POST" | "PUT" | "DELETE"; json?: unknown; body?: Readable };

/** `/api/v1` of the gateway at GROVE_URL, as the owner of GROVE_TOKEN. */
export class Client {
  readonly #url: string;
  readonly #token: string;

  constructor(env: Record<string, string | undefined>) {
    const url = env.GROVE_URL ?? "";
    if (!/^https?:\/\//.test(url) || !URL.canParse(url))
      throw new CliError(
        url === "" ? "GROVE_URL is not set." : `GROVE_URL is ${JSON.stringify(url)}, which is no address.`,
        {
          advice:
            "Set it to the gateway's address, for example http://127.0.0.1:4602 (the dashboard's Serving page shows yours).",
          usage: true,
        },
      );
    if (!env.GROVE_TOKEN)
      throw new CliError("GROVE_TOKEN is not set.", {
        advice: "Make a token on the dashboard's Tokens page.",
        usage: true,
      });
    this.#url = url.replace(/\/+$/, "");
    this.#token = env.GROVE_TOKEN;
  }

  async get<S extends z.ZodType>(path: string, schema: S): Promise<z.infer<S>> {
    return this.ask(path, schema);
  }

  async ask<S extends z.ZodType>(path: string, schema: S, asked: Ask = {}): Promise<z.infer<S>> {
    const response = await this.#send(path, asked);
    const parsed = schema.safeParse(await response.json());
    if (parsed.success) return parsed.data;
    throw new CliError(
      `The gateway's answer is not what this version of grove knows:\n${z.prettifyError(parsed.error)}`,
    );
  }

  /** Into a file that appears once it is whole. The name that the gateway gives it. */
  async download(
    path: string,
    target: (fileName: string) => Promise<string>,
  ): Promise<{ file: string; bytes: number }> {
    const response = await this.#send(path, {});
    const named = /filename="([\w.-]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "download";
    const file = await target(named);
    const partial = `${file}.partial`;
    let bytes = 0;
    try {
      await pipeline(
        Readable.from(response.body ?? []),
        async function* (chunks: AsyncIterable<Uint8Array>) {
          for await (const chunk of chunks) {
            bytes += chunk.byteLength;
            yield chunk;
          }
        },
        createWriteStream(partial),
      );
      const told = response.headers.get("content-length");
      if (told !== null && Number(told) !== bytes)
        throw new CliError(`The download broke off after ${bytes} of ${told} bytes.`);
      await rename(partial, file);
    } catch (error) {
      await rm(partial, { force: true });
      throw error instanceof CliError ? error : new CliError(`The download broke off: ${reasonOf(error)}`);
    }
    return { file, bytes };
  }

  async #send(path: string, { method, json, body }: Ask): Promise<Response> {
    const init: RequestInit & { duplex?: "half" } = {
      method: method ?? (json === undefined && body === undefined ? "GET" : "POST"),
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      ...(body === undefined ? {} : { body: Readable.toWeb(body), duplex: "half" }),
    };
    const response = await fetch(`${this.#url}/api/v1${path}`, init).catch((error: unknown) => {
      throw new CliError(`The gateway at ${this.#url} does not answer: ${reasonOf(error)}`, {
        advice: "Check GROVE_URL, and that Grove is running.",
      });
    });
    if (response.ok) return response;
    const told = refusal.safeParse(await response.json().catch(() => null));
    throw new CliError(
      told.success
        ? `${told.data.error.message} (${told.data.error.code})`
        : `The gateway answered HTTP ${response.status}.`,
    );
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
