import { fail } from "@grove/contracts/errors";
import { bodyLimit } from "hono/body-limit";
import { failureResponse } from "../../errors.ts";

/** A template or a configuration, with room to spare; nothing larger is read. */
export const smallBody = bodyLimit({
  maxSize: 1_000_000,
  onError: () => failureResponse("grove", fail("upload_too_large", "The body of this request is at most 1 MB.")),
});
