"""For tests: a hub on this machine that speaks the Hub's wire, down and up.

Downloads: resolve answers with commit and ETag, large files redirect to a store elsewhere. Uploads: create repository,
validate-yaml, preupload, git-lfs batch with a PUT to the store, commit. `python -m lora_py.hub_server` says its address
on stdout and stays until its stdin ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_test"  # noqa: S105


@dataclass
class HubState:
    commits: dict[str, Path] = field(default_factory=dict)  # commit -> folder
    branches: dict[tuple[str, str], str] = field(default_factory=dict)  # (repo, revision) -> commit
    private: set[str] = field(default_factory=set)  # repos that need the token
    requests: list[str] = field(default_factory=list)
    tokens_at_store: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)  # git-lfs, by SHA-256
    corrupt: int = 0  # so many large files come with one byte wrong
    down: bool = False
    url: str = ""
    store: str = ""
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="hub-")))

    def commit_of(self, repo: str, revision: str) -> str | None:
        return self.branches.get((repo, revision)) or (revision if revision in self.commits else None)

    def known(self, repo: str) -> bool:
        return any(key[0] == repo for key in self.branches)

    def add_commit(self, repo: str, files: dict[str, bytes]) -> str:
        """On top of `main`, or as a repository's first commit."""
        parent = self.branches.get((repo, "main"), "")
        told = json.dumps([repo, parent, {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}])
        commit = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        folder = self.root / commit
        folder.mkdir(parents=True)
        if parent:
            shutil.copytree(self.commits[parent], folder, dirs_exist_ok=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
        self.commits[commit] = folder
        self.branches[repo, "main"] = commit
        return commit


@contextmanager
def hub_server() -> Iterator[HubState]:
    state = HubState()
    store = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_Store, state))
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_Hub, state))
    for server in (store, hub):
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{hub.server_address[1]}"
    state.store = f"http://127.0.0.1:{store.server_address[1]}"
    try:
        yield state
    finally:
        hub.shutdown()
        store.shutdown()
        shutil.rmtree(state.root, ignore_errors=True)


def _handler(kind: type[_Quiet], state: HubState) -> type[_Quiet]:
    return type(kind.__name__, (kind,), {"state": state})


class _Quiet(BaseHTTPRequestHandler):
    state: HubState

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(status, {"content-type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("content-length") or 0))


class _Store(_Quiet):
    def do_GET(self) -> None:
        state = self.state
        state.tokens_at_store.append(self.headers.get("authorization") or "")
        _, commit, name = self.path.split("/")
        body = (state.commits[commit] / name).read_bytes()
        if state.corrupt:
            state.corrupt -= 1
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send(200, {}, body)

    def do_PUT(self) -> None:
        body = self.body()
        digest = hashlib.sha256(body).hexdigest()
        if digest != self.path.strip("/"):
            return self.send(400, {})
        self.state.objects[digest] = body
        return self.send(200, {})


class _Hub(_Quiet):
    def answer(self) -> None:
        self.state.requests.append(f"{self.command} {self.path}")
        body = self.body()
        if self.state.down:
            return self.send(503, {})
        parts = urlsplit(self.path).path.strip("/").split("/")
        if self.command == "POST":
            return self._write(parts, json.loads(f"[{','.join(body.decode().splitlines())}]"))
        if parts[:2] == ["api", "models"]:
            return self._info(f"{parts[2]}/{parts[3]}", parts[5] if len(parts) > 5 else "main")
        owner, name, _, revision, file = parts
        return self._resolve(f"{owner}/{name}", revision, file)

    do_GET = do_HEAD = do_POST = answer

    def _trusted(self) -> bool:
        return self.headers.get("authorization") == f"Bearer {TOKEN}"

    def _commit(self, repo: str, revision: str) -> str | None:
        """None: the refusal has been sent."""
        state = self.state
        if repo in state.private and not self._trusted():
            self.send(401, {"X-Error-Code": "RepoNotFound"})
            return None
        commit = state.commit_of(repo, revision)
        if commit is None:
            self.send(404, {"X-Error-Code": "RevisionNotFound" if state.known(repo) else "RepoNotFound"})
        return commit

    def _info(self, repo: str, revision: str) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return None
        files = sorted(self.state.commits[commit].iterdir())
        siblings = [{"rfilename": path.name, "size": path.stat().st_size} for path in files]
        private = repo in self.state.private
        return self.send_json({"id": repo, "modelId": repo, "sha": commit, "private": private, "siblings": siblings})

    def _resolve(self, repo: str, revision: str, file: str) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return None
        path = self.state.commits[commit] / file
        if not path.is_file():
            return self.send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        body = path.read_bytes()
        about = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'}
        if not file.endswith(".safetensors"):
            return self.send(200, about, body)
        about["X-Linked-Size"] = str(len(body))
        about["X-Linked-ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
        about["Location"] = f"{self.state.store}/{commit}/{file}"
        return self.send(302, about)

    def _write(self, parts: list[str], lines: list[Any]) -> None:
        if parts == ["api", "validate-yaml"]:
            told = lines[0]["content"].startswith("---\n")
            return self.send_json({"errors": [] if told else [{"message": "no metadata"}], "warnings": []})
        if not self._trusted():
            return self.send(401, {"X-Error-Message": "Invalid username or password."})
        match parts:
            case ["api", "repos", "create"]:
                return self._create(lines[0])
            case ["api", "models", _, _, "preupload", _]:
                return self.send_json({"files": [_mode(file["path"]) for file in lines[0]["files"]]})
            case [_, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                upload = [self._lfs(item) for item in lines[0]["objects"]]
                return self.send_json({"transfer": "basic", "objects": upload})
            case ["api", "models", owner, name, "commit", _]:
                return self._take(f"{owner}/{name}", lines)
        return self.send(404, {})

    def _create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.state.url}/{repo}", "name": repo, "id": repo}
        if self.state.known(repo):
            return self.send_json({**url, "error": "You already created this model repo"}, 409)
        if asked.get("visibility") == "private" or asked.get("private"):
            self.state.private.add(repo)
        self.state.add_commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.send_json(url)

    def _lfs(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["oid"] in self.state.objects:
            return dict(item)  # it is there: nothing to send
        return {**item, "actions": {"upload": {"href": f"{self.state.store}/{item['oid']}", "header": {}}}}

    def _take(self, repo: str, lines: list[Any]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.objects[value["oid"]]
        commit = self.state.add_commit(repo, files)
        url = f"{self.state.url}/{repo}/commit/{commit}"
        self.send_json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


def _mode(path: str) -> dict[str, Any]:
    return {"path": path, "uploadMode": "lfs" if path.endswith(".safetensors") else "regular", "shouldIgnore": False}


def main() -> int:
    with hub_server() as state:
        print(state.url, flush=True)
        sys.stdin.read()  # until whoever started it is gone
    return 0


if __name__ == "__main__":
    sys.exit(main())
