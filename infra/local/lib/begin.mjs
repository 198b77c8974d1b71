import { checkNode } from "../bootstrap/versions.mjs";
import { main } from "./main.mjs";

/**
 * Checks Node before anything else is loaded: the rest uses what an old Node can't even parse or import.
 * @param {() => Promise<void>} command imports what it needs by itself
 */
export async function begin(command) {
  await main(async () => {
    checkNode(process.versions.node);
    await command();
  });
}
