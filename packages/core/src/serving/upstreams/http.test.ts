import { createServer } from "node:http";
import { describe, expect, it } from "vitest";
import { freePort, listen } from "../testing.ts";
import { callServer } from "./http.ts";

const forever = new AbortController().signal;

describe("callServer", () => {
  it("says that serving is away, after its patience and not before", async () => {
    const started = Date.now();
    const answer = await callServer("http://127.0.0.1:9", { method: "GET", path: "/health" }, forever, 400);
    expect(answer).toMatchObject({ ok: false, code: "serving_unavailable" });
    expect(Date.now() - started).toBeGreaterThan(200);
  });

  it("waits through a restart: the prompt is answered by the server that comes back", async () => {
    const port = await freePort();
    const waiting = callServer(`http://127.0.0.1:${port}`, { method: "GET", path: "/health" }, forever, 5_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const back = await listen(
      createServer((_request, response) => response.writeHead(200).end("{}")),
      port,
    );
    expect(await waiting).toMatchObject({ ok: true });
    await back.close();
  });
});
