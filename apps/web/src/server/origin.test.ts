import { expect, test } from "vitest";
import { isSameOrigin } from "./origin";

const own = "https://grove.example";
const asked = (headers: Record<string, string>) =>
  isSameOrigin(new Headers({ host: "127.0.0.1:3000", ...headers }), own);

test("our own pages are let in, by the host asked for or by the configured one", () => {
  expect(asked({ origin: "http://127.0.0.1:3000", "sec-fetch-site": "same-origin" })).toBe(true);
  expect(asked({ origin: "https://grove.example" })).toBe(true);
  expect(asked({})).toBe(true);
});

test("other sites are not, even on a sibling port or a sandboxed frame", () => {
  expect(asked({ origin: "https://evil.example" })).toBe(false);
  expect(asked({ origin: "http://127.0.0.1:4000" })).toBe(false);
  expect(asked({ origin: "null" })).toBe(false);
  expect(asked({ "sec-fetch-site": "cross-site" })).toBe(false);
  expect(asked({ origin: "http://127.0.0.1:3000", "sec-fetch-site": "same-site" })).toBe(false);
});
