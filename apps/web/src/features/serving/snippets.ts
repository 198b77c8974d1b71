export type SnippetInput = {
  gatewayUrl: string;
  tenant: string;
  model: string;
  adapterId: string | null;
  prompt: string;
  token: string;
};
export type Snippet = { value: "curl" | "python" | "typescript" | "openai"; title: string; code: string };

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** JSON is a Python literal too, as long as it holds strings and numbers alone. */
function bodyOf({ adapterId, prompt }: SnippetInput): string {
  const adapter = adapterId === null ? {} : { adapter_id: adapterId, adapter_source: "pbase" };
  return JSON.stringify({ inputs: prompt, parameters: { ...adapter, max_new_tokens: 64 } }, null, 2);
}

function curl(input: SnippetInput, url: string): string {
  return [
    `curl ${shellQuoted(url)} \\`,
    `  -H ${shellQuoted(`Authorization: Bearer ${input.token}`)} \\`,
    "  -H 'Content-Type: application/json' \\",
    `  -d ${shellQuoted(bodyOf(input))}`,
  ].join("\n");
}

function python(input: SnippetInput, url: string): string {
  return [
    "import json, urllib.request",
    "",
    "request = urllib.request.Request(",
    `    ${JSON.stringify(url)},`,
    `    data=json.dumps(${bodyOf(input).replaceAll("\n", "\n    ")}).encode(),`,
    `    headers={"Authorization": ${JSON.stringify(`Bearer ${input.token}`)}, "Content-Type": "application/json"},`,
    ")",
    'print(json.load(urllib.request.urlopen(request))["generated_text"])',
  ].join("\n");
}

function typescript(input: SnippetInput, url: string): string {
  return [
    `const answer = await fetch(${JSON.stringify(url)}, {`,
    '  method: "POST",',
    `  headers: { Authorization: ${JSON.stringify(`Bearer ${input.token}`)}, "Content-Type": "application/json" },`,
    `  body: JSON.stringify(${bodyOf(input).replaceAll("\n", "\n  ")}),`,
    "});",
    "const { generated_text } = await answer.json();",
    "console.log(generated_text);",
  ].join("\n");
}

function openai(input: SnippetInput): string {
  return [
    "# pip install openai",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(`${deploymentUrl(input)}/v1`)}, api_key=${JSON.stringify(input.token)})`,
    "stream = client.chat.completions.create(",
    `    model=${JSON.stringify(input.adapterId ?? "")},${input.adapterId === null ? "  # empty: the base model itself" : ""}`,
    `    messages=[{"role": "user", "content": ${JSON.stringify(input.prompt)}}],`,
    "    max_tokens=64,",
    "    temperature=0,",
    "    stream=True,",
    ")",
    "for chunk in stream:",
    '    print(chunk.choices[0].delta.content or "", end="", flush=True)',
  ].join("\n");
}

export function deploymentUrl({
  gatewayUrl,
  tenant,
  model,
}: Pick<SnippetInput, "gatewayUrl" | "tenant" | "model">): string {
  return `${gatewayUrl}/${tenant}/deployments/v2/llms/${encodeURIComponent(model)}`;
}

/** Each runs as pasted: its own quoting, no variable to set first. */
export function snippets(input: SnippetInput): Snippet[] {
  const url = `${deploymentUrl(input)}/generate`;
  return [
    { value: "curl", title: "curl", code: curl(input, url) },
    { value: "python", title: "Python", code: python(input, url) },
    { value: "typescript", title: "TypeScript", code: typescript(input, url) },
    { value: "openai", title: "OpenAI client", code: openai(input) },
  ];
}
