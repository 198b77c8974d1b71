import { expect, test } from "vitest";
import { createSignInLimit } from "./sign-in-limit";

function limitAt(start: number) {
  let clock = start;
  return {
    limit: createSignInLimit(() => clock),
    pass: (ms: number) => {
      clock += ms;
    },
  };
}

test("five wrong passwords cost nothing, the sixth try waits, and the wait doubles", () => {
  const { limit, pass } = limitAt(1_000_000);
  for (let i = 0; i < 4; i++) limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(0);
  limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(2);
  pass(2_000);
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(0);
  limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(4);
});

test("another address is not held up, until the e-mail itself has had fifty failures", () => {
  const { limit } = limitAt(0);
  for (let i = 0; i < 10; i++) limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "2.2.2.2")).toBe(0);
  for (let i = 0; i < 40; i++) limit.failed("a@b.c", `3.3.3.${i}`);
  expect(limit.secondsToWait("a@b.c", "2.2.2.2")).toBe(2);
});

test("a right password clears the wait, and an hour forgets the failures", () => {
  const { limit, pass } = limitAt(0);
  for (let i = 0; i < 8; i++) limit.failed("a@b.c", "1.1.1.1");
  limit.succeeded("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(0);
  for (let i = 0; i < 4; i++) limit.failed("a@b.c", "1.1.1.1");
  pass(61 * 60_000);
  limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(0);
});

test("the wait never passes fifteen minutes", () => {
  const { limit } = limitAt(0);
  for (let i = 0; i < 40; i++) limit.failed("a@b.c", "1.1.1.1");
  expect(limit.secondsToWait("a@b.c", "1.1.1.1")).toBe(900);
});
