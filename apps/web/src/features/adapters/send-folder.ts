import { type AdapterFileName, adapterFileNames } from "@grove/contracts/adapters";
import { z } from "zod";

export type FolderFiles = Map<AdapterFileName, File>;
const needed = adapterFileNames.slice(0, 2);
const refusal = z.object({ message: z.string() });

/** Of what a person chose, the files that an adapter is made of; or what is missing, in words. */
export function pickFiles(chosen: Iterable<File>): FolderFiles | string {
  const found: FolderFiles = new Map();
  const names: string[] = [];
  for (const file of chosen) {
    names.push(file.name);
    const name = adapterFileNames.find((one) => one === file.name);
    if (name !== undefined) found.set(name, file);
  }
  const missing = needed.find((name) => !found.has(name));
  if (missing === undefined) return found;
  const pickled = names.some((name) => /\.(bin|pt|pth|ckpt)$/.test(name)) ? " Pickled weights are never loaded." : "";
  return `There is no ${missing} among the files.${pickled}`;
}

/** One by one, since each is a body of its own; throws with what to tell. */
export async function sendFolder(id: string, files: FolderFiles): Promise<void> {
  for (const [name, file] of files) {
    const answer = await fetch(`/api/adapter-imports/${id}/${name}`, { method: "PUT", body: file }).catch(() => null);
    if (answer?.ok === true) continue;
    const told = refusal.safeParse(await answer?.json().catch(() => null));
    throw new Error(told.success ? told.data.message : `${name} could not be sent. Try again.`);
  }
}
