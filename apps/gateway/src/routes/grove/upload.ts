import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type DatasetView, uploadDatasetInput } from "@grove/contracts/datasets";
import { type ErrorCode, fail, type Result } from "@grove/contracts/errors";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import busboy from "busboy";
import type { GatewayContext } from "../../context.ts";
import { failureResponse } from "../../errors.ts";
import { numbersIn, parseInput, resultResponse } from "../../json.ts";

type Uploaded = Result<DatasetView, ErrorCode>;
const FIELDS = 10;
const NO_BODY = "Send the file: as a form with a part named file, or as the body with ?fileName=.";

/**
 * A form (`name`, `splitSeed`, then `file`), or the file itself as the body with `?name=&fileName=`. Either way it streams.
 * A refusal is known before the client has sent everything: some of the rest is read all the same, since many clients look
 * for an answer only when they are done, and lose it when the connection is cut under them.
 */
export async function receiveDataset(c: GatewayContext): Promise<Response> {
  if (c.req.raw.body === null) return failureResponse("grove", fail("malformed_request", NO_BODY));
  const body = new Body(c.req.raw.body);
  const type = c.req.header("content-type") ?? "";
  const isForm = /^multipart\/form-data/i.test(type);
  const result = isForm
    ? await receiveForm(c, body.chunks(), type)
    : await receiveFile(c, c.req.query(), body.chunks());
  const response = resultResponse(result, 201);
  if (!result.ok && !(await body.drain())) response.headers.set("connection", "close");
  return response;
}

const DRAIN_BYTES = 64 << 20;
const DRAIN_MS = 3_000;

/** A body that can still be read after whoever read it first has given up. */
class Body {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #ended = false;

  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    for (let next = await this.#read(); next !== null; next = await this.#read()) yield next;
  }

  /** False where the client still had more to send. */
  async drain(): Promise<boolean> {
    const end = Date.now() + DRAIN_MS;
    for (let bytes = 0; !this.#ended && bytes < DRAIN_BYTES && Date.now() < end; ) {
      const next = await Promise.race([this.#read().catch(() => null), sleep(end - Date.now(), null, { ref: false })]);
      if (next === null) break;
      bytes += next.byteLength;
    }
    return this.#ended;
  }

  async #read(): Promise<Uint8Array | null> {
    const next = await this.#reader.read();
    this.#ended = next.done;
    return next.done ? null : next.value;
  }
}

async function receiveFile(
  c: GatewayContext,
  given: Record<string, string>,
  body: AsyncIterable<Uint8Array>,
): Promise<Uploaded> {
  const fileName = given.fileName ?? given.name ?? "";
  const name = given.name ?? fileName.replace(/\.[^.]*$/, "");
  const input = parseInput(uploadDatasetInput, numbersIn({ ...given, name, fileName }, ["splitSeed"]));
  return input.ok ? uploadDataset(c.var.ctx, input.value, body) : input;
}

async function receiveForm(c: GatewayContext, body: AsyncIterable<Uint8Array>, contentType: string): Promise<Uploaded> {
  const source = Readable.from(body);
  const fields: Record<string, string> = {};
  let upload: Promise<Uploaded> | null = null;
  let form: ReturnType<typeof busboy>;
  try {
    form = busboy({
      headers: { "content-type": contentType },
      limits: { files: 1, fields: FIELDS, fieldSize: 1_000 },
      defParamCharset: "utf8",
    });
  } catch (error) {
    return fail(
      "malformed_request",
      `The form cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  form.on("field", (field, value) => {
    if (upload === null) fields[field] = value;
  });
  form.on("file", (_part, file, info) => {
    upload = receiveFile(c, { ...fields, fileName: info.filename }, file).finally(() => file.resume());
    void upload.then((result) => {
      if (!result.ok) source.destroy(); // the answer is known: the rest need not be sent
    });
  });
  const read = await pipeline(source, form).then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (upload !== null) return upload;
  if (read !== null) return fail("malformed_request", `The form cannot be read: ${read}`);
  return fail(
    "malformed_request",
    "The form has no file. Send one in a part named file, after the fields name and splitSeed.",
  );
}
