import { PassThrough, type Readable } from "node:stream";
import type { ZipFile } from "yazl";

/** Ends a zip of uncompressed entries: its length, and its bytes as they are asked for. Who stops reading closes its sources. */
export async function finishZip(zip: ZipFile, sources: Readable[] = []): Promise<{ bytes: number; stream: Readable }> {
  const out = new PassThrough();
  out.once("close", () => {
    for (const source of sources) source.destroy();
  });
  const bytes = await new Promise<number>((resolve, reject) => {
    zip.on("error", (error: Error) => {
      out.destroy(error);
      reject(error);
    });
    zip.end({ forceZip64Format: false, comment: "" }, (total = -1) => resolve(total));
  });
  zip.outputStream.pipe(out);
  return { bytes, stream: out };
}
