"""The Hub's wire for downloads: resolve answers with commit and ETag, large files redirect to a store elsewhere."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "hf_test"


@dataclass
class HubState:
    commits: dict[str, Path] = field(default_factory=dict)  # commit -> folder
    branches: dict[tuple[str, str], str] = field(default_factory=dict)  # (repo, revision) -> commit
    private: set[str] = field(default_factory=set)  # repos that need the token
    requests: list[str] = field(default_factory=list)
    tokens_at_store: list[str] = field(default_factory=list)
    corrupt: int = 0  # so many large files come with one byte wrong
    down: bool = False
    url: str = ""


@contextmanager
def hub_server() -> Iterator[HubState]:
    state = HubState()

    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    class Store(Quiet):
        def do_GET(self) -> None:
            state.tokens_at_store.append(self.headers.get("authorization") or "")
            _, commit, name = self.path.split("/")
            body = (state.commits[commit] / name).read_bytes()
            if state.corrupt:
                state.corrupt -= 1
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.send(200, {}, body)

    store = ThreadingHTTPServer(("127.0.0.1", 0), Store)

    class Hub(Quiet):
        def answer(self) -> None:
            state.requests.append(f"{self.command} {self.path}")
            if state.down:
                return self.send(503, {})
            owner, name, _, revision, file = self.path.strip("/").split("/")
            repo = f"{owner}/{name}"
            if repo in state.private and self.headers.get("authorization") != f"Bearer {TOKEN}":
                return self.send(401, {"X-Error-Code": "RepoNotFound"})
            commit = state.branches.get((repo, revision)) or (revision if revision in state.commits else None)
            if commit is None:
                known = any(key[0] == repo for key in state.branches)
                return self.send(404, {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
            path = state.commits[commit] / file
            if not path.is_file():
                return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            body = path.read_bytes()
            about = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'}
            if not file.endswith(".safetensors"):
                return self.send(200, about, body)
            about["X-Linked-Size"] = str(len(body))
            about["X-Linked-ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
            about["Location"] = f"http://127.0.0.1:{store.server_address[1]}/{commit}/{file}"
            return self.send(302, about)

        do_GET = do_HEAD = answer

    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    for server in (store, hub):
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{hub.server_address[1]}"
    try:
        yield state
    finally:
        hub.shutdown()
        store.shutdown()
