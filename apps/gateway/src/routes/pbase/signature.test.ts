import { describe, expect, it } from "vitest";
import { isSigned } from "./signature.ts";

// the examples of AWS's own documentation (Amazon S3 API Reference, "Signature Calculations for the Authorization Header")
const credentials = { accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const at = new Date("2013-05-24T00:00:00Z");

function example(path: string, signed: string, signature: string, more: Record<string, string> = {}): Request {
  const scope = `${credentials.accessKey}/20130524/us-east-1/s3/aws4_request`;
  return new Request(`https://examplebucket.s3.amazonaws.com${path}`, {
    headers: {
      host: "examplebucket.s3.amazonaws.com",
      "x-amz-date": "20130524T000000Z",
      "x-amz-content-sha256": emptyHash,
      ...more,
      authorization: `AWS4-HMAC-SHA256 Credential=${scope},SignedHeaders=${signed},Signature=${signature}`,
    },
  });
}
const get = (more: Record<string, string> = {}) =>
  example(
    "/test.txt",
    "host;range;x-amz-content-sha256;x-amz-date",
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    { range: "bytes=0-9", ...more },
  );
const list = example(
  "/?max-keys=2&prefix=J",
  "host;x-amz-content-sha256;x-amz-date",
  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
);

describe("isSigned", () => {
  it("agrees with AWS's examples", () => {
    expect([isSigned(get(), credentials, at), isSigned(list, credentials, at)]).toEqual([true, true]);
  });

  it.each([
    ["another header", get({ range: "bytes=0-99" }), credentials, at],
    ["another secret", get(), { ...credentials, secretKey: "other" }, at],
    ["another key", get(), { ...credentials, accessKey: "other" }, at],
    ["a quarter of an hour later", get(), credentials, new Date("2013-05-24T00:15:01Z")],
    ["no signature", new Request("https://x/"), credentials, at],
  ])("refuses %s", (_what, request, given, now) => {
    expect(isSigned(request, given, now)).toBe(false);
  });
});
