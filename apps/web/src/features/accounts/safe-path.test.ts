import { expect, test } from "vitest";
import { safePath } from "./safe-path";

test("only paths of this site are followed after signing in", () => {
  expect(safePath("/jobs/1?tab=log")).toBe("/jobs/1?tab=log");
  for (const given of [
    undefined,
    ["/jobs"],
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "jobs",
    "/sign-in",
    "/api/auth/signout",
    "/a\nb",
  ]) {
    expect(safePath(given)).toBe("/");
  }
});
