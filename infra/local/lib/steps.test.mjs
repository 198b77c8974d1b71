import { describe, expect, it } from "vitest";
import { Failure } from "./failure.mjs";
import { Progress } from "./progress.mjs";
import { runSteps } from "./steps.mjs";

class Silent extends Progress {
  /** @override */
  say() {}
}

/** @param {import("./steps.mjs").Step[]} steps */
async function run(steps) {
  const stopped = { times: 0 };
  const onFailure = async () => {
    stopped.times += 1;
  };
  const outcome = await runSteps(steps, {
    progress: new Silent(),
    signal: new AbortController().signal,
    onFailure,
  }).then(
    () => null,
    (error) => error,
  );
  return { outcome, stopped: stopped.times };
}

const tick = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));

describe("steps", () => {
  it("run side by side, and after what they need", async () => {
    const order = /** @type {string[]} */ ([]);
    const step = (/** @type {string} */ name, /** @type {string[]} */ needs) => ({
      name,
      needs,
      run: async () => {
        order.push(`${name} begins`);
        await tick();
        order.push(`${name} ends`);
      },
    });
    expect((await run([step("web", ["node"]), step("node", []), step("python", [])])).outcome).toBeNull();
    expect(order.slice(0, 2).sort()).toEqual(["node begins", "python begins"]);
    expect(order.indexOf("web begins")).toBeGreaterThan(order.indexOf("node ends"));
  });

  it("stop at the first failure, which names its step; what has not begun does not begin", async () => {
    let begun = false;
    const { outcome, stopped } = await run([
      { name: "node", run: async () => Promise.reject(new Failure("no network")) },
      {
        name: "web",
        needs: ["node"],
        run: async () => {
          begun = true;
        },
      },
    ]);
    expect(outcome.message).toBe("node: no network");
    expect(stopped).toBe(1);
    expect(begun).toBe(false);
  });

  it("report one failure where the stop makes others fail too", async () => {
    const { outcome } = await run([
      { name: "first", run: async () => Promise.reject(new Failure("the cause")) },
      { name: "second", run: async () => tick().then(() => Promise.reject(new Failure("the consequence"))) },
    ]);
    expect(outcome.message).toBe("first: the cause");
  });

  it("turn a full disk into advice", async () => {
    const full = Object.assign(new Error("write"), { code: "ENOSPC" });
    const { outcome } = await run([{ name: "node", run: async () => Promise.reject(full) }]);
    expect(outcome).toBeInstanceOf(Failure);
    expect(outcome.message).toContain("disk is full");
  });

  it("refuse a need that nobody meets, rather than wait for it", async () => {
    const { outcome } = await run([{ name: "web", needs: ["nobody"], run: async () => {} }]);
    expect(outcome.message).toContain("wait for a step that is not there: web");
  });
});
