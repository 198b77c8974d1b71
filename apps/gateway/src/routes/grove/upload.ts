import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type DatasetView, type UploadDatasetInput, uploadDatasetInput } from "@grove/contracts/datasets";
import { type ErrorCode, fail, type Result } from "@grove/contracts/errors";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import busboy from "busboy";
import type { GatewayContext } from "../../context.ts";
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
  return receive(c, toInput, (result) => resultResponse(result, 201));
}

type Given = Record<string, string>; // the form's fields or the query's, and `fileName`
type ToInput = (given: Given) => Result<UploadDatasetInput, ErrorCode>;

/** `answer` writes what came of it, in the shape of the route's family. */
export async function receive(
  c: GatewayContext,
  read: ToInput,
  answer: (result: Uploaded) => Response,
): Promise<Response> {
  if (c.req.raw.body === null) return answer(fail("malformed_request", NO_BODY));
  const body = new Body(c.req.raw.body);
  const type = c.req.header("content-type") ?? "";
  const isForm = /^multipart\/form-data/i.test(type);
  const result = isForm
    ? await receiveForm(c, body.chunks(), type, read)
    : await receiveFile(c, read(c.req.query()), body.chunks());
  const response = answer(result);
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

function toInput(given: Given): Result<UploadDatasetInput, ErrorCode> {
  const fileName = given.fileName ?? given.name ?? "";
  const name = given.name ?? withoutExtension(fileName);
  return parseInput(uploadDatasetInput, numbersIn({ ...given, name, fileName }, ["splitSeed"]));
}

export function withoutExtension(fileName: string): string {
  return fileName.replace(/\.[^.]*$/, "");
}

async function receiveFile(
  c: GatewayContext,
  input: Result<UploadDatasetInput, ErrorCode>,
  body: AsyncIterable<Uint8Array>,
): Promise<Uploaded> {
  return input.ok ? uploadDataset(c.var.ctx, input.value, body) : input;
}

async function receiveForm(
  c: GatewayContext,
  body: AsyncIterable<Uint8Array>,
  contentType: string,
  read: ToInput,
): Promise<Uploaded> {
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
    file.on("error", () => {}); // a form that is given up takes its file along, which nobody may be reading
    upload = receiveFile(c, read({ ...fields, fileName: info.filename }), file).finally(() => file.resume());
    void upload.then((result) => {
      if (!result.ok) source.destroy(); // the answer is known: the rest need not be sent
    });
  });
  const broken = await pipeline(source, form).then(
    () => null,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  if (upload !== null) return upload;
  if (broken !== null) return fail("malformed_request", `The form cannot be read: ${broken}`);
  return fail(
    "malformed_request",
    "The form has no file. Send one in a part named file, after the fields name and splitSeed.",
  );
}
