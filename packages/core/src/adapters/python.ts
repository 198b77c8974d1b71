import { spawn } from "node:child_process";

export type Said = { exitCode: number | null; stdout: string; stderr: string };
type Ask = { stdin?: string; env?: Record<string, string>; signal: AbortSignal };

const MOST = 64_000; // characters of either stream that are kept

/** One `python -m module` to its end. What is secret goes in by stdin, which nobody else on the machine can read. */
export async function runPython(python: string, args: string[], { stdin = "", env = {}, signal }: Ask): Promise<Said> {
  const child = spawn(python, ["-m", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...env },
    signal,
    killSignal: "SIGKILL",
  });
  const said: Said = { exitCode: null, stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] = (said[name] + text).slice(-MOST);
    });
  child.stdin.on("error", () => undefined); // it may be gone before it has read
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ ...said, exitCode: code }));
  });
}

/** The last line of what it logged: our own commands end with the reason. */
export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.slice(0, 1_000) ?? "";
}
