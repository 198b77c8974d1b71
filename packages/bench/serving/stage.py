"""What the rows share: prompts, adapters on disk, and contenders, each made when a row first asks for it."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters import BenchAdapter, write_adapters
from environments import CannotInstall, llama_server, vllm_environment, vllm_python
from gguf_base import ensure_q8_0
from lora_py.base_model import ensure_default
from lora_py.gguf_lora import write_gguf_lora
from lora_py.peft_files import read_adapter
from prompts import Prompts
from race import Contender, ContenderFailed

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PEER_ADAPTERS = 16
PROMPT_TOKENS = NEW_TOKENS = 64


class Stage:
    def __init__(self, threads: int, rounds: int, quick: bool, seed: int) -> None:
        self.threads, self.rounds, self.quick = threads, rounds, quick
        self.began = time.monotonic()
        self.data = ROOT / ".data/bench"
        self.base = ensure_default(ROOT / ".data/models/smollm2-135m-instruct", self.say).path
        self.config: dict[str, Any] = json.loads((self.base / "config.json").read_text())
        self.prompts = Prompts(ROOT, self.base, seed)
        self.notes: dict[str, str] = {}
        self._work = self.data / "work"
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        self._folders: dict[str, list[BenchAdapter]] = {}
        self._contenders: dict[str, Contender] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:6.0f} s] {text}", file=sys.stderr, flush=True)

    def adapters(self, kind: str, count: int, half: bool) -> list[BenchAdapter]:
        """At least `count` random adapters of this kind, in the disk cache of the servers that use them."""
        if len(self._folders.get(kind, ())) < count:
            self.say(f"writing {count} random adapters")
            shutil.rmtree(self.cache(kind), ignore_errors=True)
            self.cache(kind).mkdir()
            self._folders[kind] = write_adapters(self.cache(kind), self.config, count, half)
        return self._folders[kind]

    def cache(self, kind: str) -> Path:
        return self._work / kind

    def drop_adapters(self, kind: str) -> None:
        shutil.rmtree(self.cache(kind), ignore_errors=True)
        self._folders.pop(kind, None)

    def task(self, requests: int, adapters: list[int], tokens: int = PROMPT_TOKENS, **more: Any) -> dict[str, Any]:
        """`requests` fresh prompts; request i uses adapters[i mod their number], none where there are none."""
        prompts = self.prompts.take(requests, tokens)
        return {
            "ids": [prompt.ids for prompt in prompts],
            "texts": [prompt.text for prompt in prompts],
            "adapters": [adapters[i % len(adapters)] if adapters else -1 for i in range(requests)],
            "in_flight": requests,
            "new_tokens": NEW_TOKENS,
            **more,
        }

    def server(self, name: str, kind: str, shas: list[str], *settings: str, lookup: bool = False) -> Contender:
        """Our own server over HTTP, with the adapters of `kind` in its disk cache. `lookup`: with prompt lookup, as it
        is by default; most rows are without, since the peers run without their own kind of it."""
        listed = self._work / f"{name}.json"
        listed.write_text(json.dumps(shas))
        port = str(free_port())
        command = [str(self.base), str(self.cache(kind)), port, str(listed), "with" if lookup else "without", *settings]
        return self.start(name, [sys.executable, str(HERE / "contenders/grove_http.py"), *command])

    def start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Contender:
        """Starts it, and does not wait until it is ready: its first turn does."""
        if name not in self._contenders:
            self._contenders[name] = Contender(name, command, self.threads, self.data / "logs", env)
        return self._contenders[name]

    def peers(self, names: list[str]) -> dict[str, Contender]:
        """Those that can be had, ready with their adapters loaded; why others can't is in `notes`."""
        found: dict[str, Contender] = {}
        for name in names:
            with self.noted(name):
                found[name] = self._peer(name)
        for name, contender in found.items():
            with self.noted(name):
                contender.ready()
                self.say(f"{name} is ready")
        return {name: contender for name, contender in found.items() if name not in self.notes}

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """A peer that fails is left out, with the reason told."""
        try:
            yield
        except (CannotInstall, ContenderFailed) as error:
            self.notes[name] = str(error)
            self.say(f"{name} can't take part: {error}")
            self.leave(name)

    def _peer(self, name: str) -> Contender:
        adapters = self.adapters("peers", PEER_ADAPTERS, half=False)[:PEER_ADAPTERS]
        folders = [str(adapter.folder) for adapter in adapters]
        script = str(HERE / "contenders/{}.py")
        if name == "peft":
            return self.start(name, [sys.executable, script.format("hf_peft"), str(self.base), *folders])
        if name.startswith("vllm"):
            python, dtype = str(vllm_python(self.say)), name.removeprefix("vllm-")
            command = [python, script.format("vllm_cpu"), dtype, str(self.base), *folders]
            return self.start(name, command, vllm_environment(self.threads))
        if name.startswith("llama.cpp"):
            server = llama_server(self.say)
            files = [self._gguf(adapter) for adapter in adapters] if name == "llama.cpp" else []
            command = [str(server.path), str(server.amx), str(ensure_q8_0(self.data)), str(free_port()), *files]
            return self.start(name, [sys.executable, script.format("llama_cpp"), *command])
        return self.start(name, [sys.executable, script.format(name)])

    def _gguf(self, adapter: BenchAdapter) -> str:
        file = self._work / f"{adapter.sha256}.gguf"
        if not file.exists():
            write_gguf_lora(read_adapter(adapter.folder), self.config, file)
        return str(file)

    def leave(self, *names: str) -> None:
        for name in names or tuple(self._contenders):
            contender = self._contenders.pop(name, None)
            if contender is not None:
                contender.leave()

    def close(self) -> None:
        self.leave()
        shutil.rmtree(self._work, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
