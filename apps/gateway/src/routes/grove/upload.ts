import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type DatasetView, uploadDatasetInput } from "@grove/contracts/datasets";
import { type ErrorCode, fail, type Result } from "@grove/contracts/errors";
import { uploadDataset } from "@grove/core/datasets/upload-dataset";
import busboy from "busboy";
import type { GatewayContext } from "../../context.ts";
import { numbersIn, parseInput } from "../../json.ts";

type Uploaded = Result<DatasetView, ErrorCode>;
const FIELDS = 10;

/** A form (`name`, `splitSeed`, then `file`), or the file itself as the body with `?name=&fileName=`. Either way it streams. */
export async function receiveDataset(c: GatewayContext): Promise<Uploaded> {
  const body = c.req.raw.body;
  if (body === null)
    return fail(
      "malformed_request",
      "Send the file: as a form with a part named file, or as the body with ?fileName=.",
    );
  const type = c.req.header("content-type") ?? "";
  return /^multipart\/form-data/i.test(type) ? receiveForm(c, body, type) : receiveFile(c, c.req.query(), body);
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

async function receiveForm(
  c: GatewayContext,
  body: ReadableStream<Uint8Array>,
  contentType: string,
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
