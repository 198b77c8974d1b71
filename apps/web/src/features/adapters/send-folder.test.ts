import { expect, test } from "vitest";
import { pickFiles } from "./send-folder";

const file = (name: string) => new File(["x"], name);

test("of a folder's files those of an adapter are taken, and no others", () => {
  const names = ["adapter_model.safetensors", "README.md", "optimizer.pt", "adapter_config.json", "x.json"];
  const picked = pickFiles(names.map(file));
  expect(picked instanceof Map && [...picked.keys()]).toEqual([
    "adapter_model.safetensors",
    "README.md",
    "adapter_config.json",
  ]);
});

test("what is missing is told by name, and pickled weights are no substitute", () => {
  expect(pickFiles([file("adapter_model.safetensors")])).toBe("There is no adapter_config.json among the files.");
  expect(pickFiles([file("adapter_config.json"), file("adapter_model.bin")])).toBe(
    "There is no adapter_model.safetensors among the files. Pickled weights are never loaded.",
  );
});
