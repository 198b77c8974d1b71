import fs from "node:fs";
import path from "node:path";

/**
 * The weights of a published adapter, all tensors in the order of their names.
 * @param {string} store the object store's folder
 * @param {string} sha256
 * @returns {Float32Array}
 */
export function readWeights(store, sha256) {
  const file = fs.readFileSync(path.join(store, "adapters", sha256, "adapter_model.safetensors"));
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString("utf8"));
  const names = Object.keys(header)
    .filter((name) => name !== "__metadata__")
    .sort();
  const parts = names.map((name) => {
    const { dtype, data_offsets: range } = header[name];
    if (dtype !== "F32") throw new Error(`${name} of ${sha256} is ${dtype}; the bench compares F32.`);
    return file.subarray(start + range[0], start + range[1]);
  });
  const bytes = Buffer.concat(parts);
  const numbers = new Float32Array(bytes.length / 4);
  for (let i = 0; i < numbers.length; i++) numbers[i] = bytes.readFloatLE(4 * i);
  return numbers;
}

/**
 * |a - b| / |b| over all weights.
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
export function difference(a, b) {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let apart = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    apart += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    size += (b[i] ?? 0) ** 2;
  }
  return Math.sqrt(apart / size);
}
