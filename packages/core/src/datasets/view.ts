import { type DatasetView, datasetFormats, datasetProfile, datasetStatuses } from "@grove/contracts/datasets";
import type { Dataset } from "@grove/db";
import { z } from "zod";

const format = z.enum(datasetFormats);
const status = z.enum(datasetStatuses);

export function toDatasetView(row: Dataset): DatasetView {
  return {
    id: row.id,
    name: row.name,
    fileName: row.fileName,
    format: format.parse(row.format),
    bytes: Number(row.bytes),
    status: status.parse(row.status),
    profile: row.profile === null ? null : datasetProfile.parse(row.profile),
    error:
      row.errorCode === null ? null : { code: row.errorCode, message: row.errorMessage ?? "", line: row.errorLine },
    splitSeed: row.splitSeed,
    createdAt: row.createdAt,
  };
}
