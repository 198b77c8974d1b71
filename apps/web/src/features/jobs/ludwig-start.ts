/** A complete configuration to begin with, made from what the form holds. */
export function ludwigStart(
  baseModel: string,
  template: { promptTemplate: string; targetColumn: string },
  columns: string[],
): string {
  const prompt = template.promptTemplate.split("\n").map((line) => `    ${line}`.trimEnd());
  const inputs = columns.filter(
    (name) => name !== template.targetColumn && template.promptTemplate.includes(`{${name}}`),
  );
  return [
    "model_type: llm",
    `base_model: ${baseModel}`,
    "prompt:",
    "  template: |-",
    ...prompt,
    "input_features:",
    ...(inputs.length === 0 ? ["prompt"] : inputs)
      .slice(0, 1)
      .flatMap((name) => [`  - name: ${JSON.stringify(name)}`, "    type: text"]),
    "output_features:",
    `  - name: ${JSON.stringify(template.targetColumn)}`,
    "    type: text",
    "adapter:",
    "  type: lora",
    "  r: 8",
    "trainer:",
    "  type: finetune",
    "  epochs: 3",
    "  learning_rate: 0.0005",
    "  batch_size: 16",
    "",
  ].join("\n");
}
