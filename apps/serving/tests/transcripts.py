"""What the published clients say of a server with a real base: `python tests/transcripts.py BASE_FOLDER > CLIENTS.md`.

Each piece of code is run as it is printed, and followed by what it printed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    HERE = Path(__file__).resolve()
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[3] / "packages" / "lora-py")]

from gateway import SECRET, start_gateway
from peft_outside import KINDS, make
from server import serving_process

GATEWAY_APP = Path(__file__).resolve().parents[2] / "gateway"  # has the `openai` package of npm

LORAX = """
from lorax import Client
from lorax.errors import GenerationError, ValidationError

client = Client(URL, headers={"authorization": "Bearer pb_ann"})
answer = client.generate("The capital of France is", max_new_tokens=8)
print(repr(answer.generated_text), answer.details.finish_reason, answer.details.generated_tokens)

adapter = {"adapter_id": "support/1", "adapter_source": "pbase"}
print(repr(client.generate("The capital of France is", max_new_tokens=8, **adapter).generated_text))

streamed = client.generate_stream("Two plus two", max_new_tokens=5, **adapter)
print([event.token.text for event in streamed])

schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
form = {"type": "json_object", "schema": {**schema, "additionalProperties": False}}
print(client.generate("A city as JSON: ", response_format=form, max_new_tokens=20).generated_text)

for wrong in ({"adapter_id": "nobody/1", "adapter_source": "pbase"}, {"max_new_tokens": 100_000}):
    try:
        client.generate("x", **wrong)
    except (GenerationError, ValidationError) as error:
        print(type(error).__name__, error)

# A stock snippet sends the token in the body, and Bob's opens nothing of Ann's.
print(repr(Client(URL).generate("Hello", api_token="pb_ann", max_new_tokens=4, **adapter).generated_text))
try:
    Client(URL).generate("Hello", api_token="pb_bob", **adapter)
except GenerationError as error:
    print(type(error).__name__, error)
"""

OPENAI = """
from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=f"{URL}/v1", api_key="pb_ann")
print([model.id for model in client.models.list()])

ask = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 24}
answer = client.chat.completions.create(model="", **ask)
print(repr(answer.choices[0].message.content), answer.choices[0].finish_reason, answer.usage.total_tokens)
short = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
print([repr(client.completions.create(model=model, **short).choices[0].text) for model in ("", "support/1")])

chunks = client.chat.completions.create(model="", stream=True, stream_options={"include_usage": True}, **ask)
parts = [(c.choices[0].delta.content if c.choices else c.usage.completion_tokens) for c in chunks]
print(parts)

schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
weather = {"name": "weather", "parameters": schema}
tool = {"tools": [{"type": "function", "function": weather}], "tool_choice": "required"}
call = client.chat.completions.create(model="", **{**ask, "max_tokens": 60}, **tool).choices[0]
print(call.finish_reason, call.message.tool_calls[0].function)

choices = client.completions.create(model="", prompt="Once", n=2, seed=7, max_tokens=6, logprobs=1, stop="\\n").choices
print([(c.text, [round(p, 2) for p in c.logprobs.token_logprobs]) for c in choices])

for wrong in ({"model": "nobody/1"}, {"model": "", "temperature": -1}):
    try:
        client.chat.completions.create(**{**ask, **wrong})
    except (NotFoundError, BadRequestError) as error:
        print(type(error).__name__, error.status_code, error.param, error.body["message"])
"""

NODE = """
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "pb_ann" });
const short = { model: "support/1", prompt: "The capital of France is", max_tokens: 8, temperature: 0 };
const answer = await client.completions.create(short);
console.log(JSON.stringify(answer.choices[0].text), answer.choices[0].finish_reason, answer.usage.total_tokens);

const ask = { messages: [{ role: "user", content: "What is the capital of France?" }], temperature: 0 };
let text = "";
for await (const chunk of await client.chat.completions.create({ model: "", stream: true, ...ask }))
  text += chunk.choices[0].delta.content ?? "";
console.log(JSON.stringify(text));

try {
  await client.chat.completions.create({ model: "nobody/1", ...ask });
} catch (error) {
  console.log(error.constructor.name, error.status, error.param);
}
"""


def run_python(code: str, url: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "transcript", "exec"), {"URL": url})
    return said.getvalue()


def run_node(code: str, url: str) -> str:
    given = code.replace("const client", f"const URL = {json.dumps(url)};\nconst client", 1)
    command = ["node", "--input-type=module", "--eval", given]
    return subprocess.run(command, cwd=GATEWAY_APP, check=True, capture_output=True, text=True).stdout


def tell(title: str, language: str, code: str, said: str) -> None:
    print(f"\n## {title}\n\n```{language}\n{code.strip()}\n```\n\n```text\n{said.rstrip()}\n```")


def main() -> None:
    base = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        adapter = Path(folder) / "adapter"
        with contextlib.redirect_stdout(sys.stderr):
            make(adapter, base, KINDS["rank 8, all-linear"], 3, 0.03)
        state, gateway = start_gateway()
        stack.callback(gateway.shutdown)
        state.tokens = {"pb_ann": "ann", "pb_bob": "bob"}
        state.adapters = {("ann", "support/1"): adapter}
        env = {"GROVE_GATEWAY_URL": state.url, "GROVE_INTERNAL_SECRET": SECRET}
        url, _ = stack.enter_context(serving_process(base, Path(folder) / "cache", env))
        print("# What published clients say of this server\n")
        print(f"Written by `tests/transcripts.py` with the base {base.name}. `support/1` is an adapter of rank 8 that")
        print("PEFT made with random weights; it is Ann's. `URL` is the server's address.")
        version = importlib.metadata.version
        tell(f"lorax-client {version('lorax-client')}", "python", LORAX, run_python(LORAX, url))
        tell(f"openai {version('openai')} (Python)", "python", OPENAI, run_python(OPENAI, url))
        package = json.loads((GATEWAY_APP / "node_modules" / "openai" / "package.json").read_text(encoding="utf-8"))
        tell(f"openai {package['version']} (npm)", "js", NODE, run_node(NODE, url))


if __name__ == "__main__":
    main()
