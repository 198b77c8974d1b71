import type { DatasetView } from "@grove/contracts/datasets";
import { z } from "zod";
import type { ShownFailure } from "@/features/shared/failure";

export type UploadResult = { ok: true; datasetId: DatasetView["id"] } | { ok: false; failure: ShownFailure };
export type Upload = { done: Promise<UploadResult>; abort: () => void };

const answer = z.object({ id: z.uuid() });
const refusal = z.object({
  code: z.string(),
  message: z.string(),
  field: z.string().nullable(),
  line: z.number().nullable(),
});
const interrupted: ShownFailure = {
  code: "upload_interrupted",
  message: "The upload broke off before the end. Nothing was kept; try again.",
  field: null,
  line: null,
};

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** By XMLHttpRequest, since `fetch` does not tell how much has been sent. */
export function uploadFile(file: File, name: string, onProgress: (fraction: number) => void): Upload {
  const request = new XMLHttpRequest();
  const query = new URLSearchParams({ name, fileName: file.name });
  const done = new Promise<UploadResult>((resolve) => {
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => resolve({ ok: false, failure: interrupted });
    request.onabort = () =>
      resolve({ ok: false, failure: { ...interrupted, message: "You stopped the upload. Nothing was kept." } });
    request.onload = () => {
      const body = parseJson(request.responseText);
      const made = answer.safeParse(body);
      if (request.status === 201 && made.success) return resolve({ ok: true, datasetId: made.data.id });
      const refused = refusal.safeParse(body);
      resolve({ ok: false, failure: refused.success ? refused.data : interrupted });
    };
    request.open("POST", `/api/datasets/upload?${query}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.send(file);
  });
  return { done, abort: () => request.abort() };
}
