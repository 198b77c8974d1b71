// For tests: a hub of our own on this machine, which speaks the Hub's wire to the real client.
import { spawn } from "node:child_process";
import { join } from "node:path";

export const hubToken = "hf_test";
export type TestHub = { url: string; stop: () => void };

export async function startHub(python: string): Promise<TestHub> {
  const env = { ...process.env, PYTHONPATH: join(import.meta.dirname, "../../../lora-py") };
  const child = spawn(python, ["-m", "lora_py.hub_server"], { env, stdio: ["pipe", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").once("data", (text: string) => resolve(text.trim()));
    child.once("exit", () => reject(new Error("The hub did not start.")));
  });
  return { url, stop: () => child.kill("SIGKILL") };
}
