import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { snippets } from "./snippets";

const run = promisify(execFile);
const prompt = `It's "quoted" \\ and {braced} $HOME \`x\`\nsecond line: é`;
let seen: { url: string; authorization: string; body: unknown }[] = [];

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => {
    body += String(part);
  });
  request.on("end", () => {
    seen.push({ url: request.url ?? "", authorization: request.headers.authorization ?? "", body: JSON.parse(body) });
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ generated_text: "fine" }));
  });
});
let gatewayUrl = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  gatewayUrl = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
});
afterAll(() => server.close());

test.each([
  ["curl", (code: string) => ["bash", ["-c", code]] as const],
  ["python", (code: string) => ["python3", ["-c", code]] as const],
  ["typescript", (code: string) => [process.execPath, ["--input-type=module", "-e", code]] as const],
])("the %s snippet runs as pasted, whatever is in the prompt", async (value, command) => {
  seen = [];
  const all = snippets({
    gatewayUrl,
    tenant: "acme",
    model: "base-model",
    adapterId: "kinds/1",
    prompt,
    token: "pb_1",
  });
  const snippet = all.find((item) => item.value === value);
  const [program, args] = command(snippet?.code ?? "");
  const { stdout } = await run(program, args);
  expect(stdout).toContain("fine");
  expect(seen).toEqual([
    {
      url: "/acme/deployments/v2/llms/base-model/generate",
      authorization: "Bearer pb_1",
      body: { inputs: prompt, parameters: { adapter_id: "kinds/1", adapter_source: "pbase", max_new_tokens: 64 } },
    },
  ]);
});
