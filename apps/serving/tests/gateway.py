"""A gateway for tests: it answers the two internal routes for folders on disk, and can be told to fail."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from lora_py.peft_files import adapter_sha256

SECRET = "internal-secret-for-tests"


@dataclass
class GatewayState:
    tokens: dict[str, str] = field(default_factory=dict)  # token -> tenant
    adapters: dict[tuple[str, str], Path] = field(default_factory=dict)  # (tenant, id) -> folder
    hashes: dict[tuple[str, str], str] = field(default_factory=dict)  # told instead of the real one
    fetches: list[str] = field(default_factory=list)
    resolves: int = 0
    fail_fetches: int = 0
    hold: dict[str, threading.Event] = field(default_factory=dict)  # fetches of this hash wait for the event
    stall: set[str] = field(default_factory=set)  # the body of this hash's weights stops half way and stays open
    trickle: set[str] = field(default_factory=set)  # … comes a byte at a time
    cut: dict[str, int] = field(default_factory=dict)  # … ends half way, so many times
    stop: threading.Event = field(default_factory=threading.Event)  # lets stalled ones go
    url: str = ""

    def sha(self, tenant: str, adapter_id: str) -> str:
        return self.hashes.get((tenant, adapter_id)) or adapter_sha256(self.adapters[tenant, adapter_id])


def start_gateway() -> tuple[GatewayState, ThreadingHTTPServer]:
    state = GatewayState()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            if url.path == "/internal/adapters/resolve":
                self.resolve(parse_qs(url.query), token)
            else:
                self.file(url.path.split("/"), token)

        def resolve(self, query: dict[str, list[str]], token: str) -> None:
            state.resolves += 1
            tenant = query.get("tenant", [""])[0] if token == SECRET else state.tokens.get(token)
            if not tenant:
                return self.answer(401, b"{}")
            key = (tenant, query["id"][0])
            if key not in state.adapters:
                return self.answer(404, b"{}")
            told = {"tenant": tenant, "id": key[1], "sha256": state.sha(*key), "prompt_format": "raw"}
            return self.answer(200, json.dumps({**told, "bytes": 1, "base_model": "tiny"}).encode())

        def file(self, parts: list[str], token: str) -> None:
            sha, name = parts[3], parts[4]
            state.fetches.append(sha)
            if sha in state.hold:
                state.hold[sha].wait(20)
            if state.fail_fetches:
                state.fail_fetches -= 1
                return self.answer(503, b"")
            folder = next((f for key, f in state.adapters.items() if state.sha(*key) == sha), None)
            if token != SECRET or folder is None:
                return self.answer(404, b"")
            body = (folder / name).read_bytes()
            if name.endswith(".safetensors") and (sha in state.stall | state.trickle or state.cut.get(sha)):
                return self.misbehave(sha, body)
            return self.answer(200, body)

        def misbehave(self, sha: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if sha in state.trickle:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    if state.stop.wait(0.05):
                        return
            self.wfile.write(body[: len(body) // 2])
            if sha in state.stall:
                state.stop.wait(30)
            state.cut[sha] = state.cut.get(sha, 1) - 1
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return state, server
