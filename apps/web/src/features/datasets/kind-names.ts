import type { DataKind } from "@grove/contracts/datasets";

export const kindNames: Record<DataKind, string> = {
  template: "Prompt and answer",
  messages: "Conversations",
  text: "Plain text",
  preference: "Preferences",
};
