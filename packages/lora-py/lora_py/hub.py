"""A PEFT folder to a repository of a Hugging Face Hub, or back.

    python -m lora_py.hub push|pull

What it needs comes as one JSON object on stdin, the token among it, so that neither a command line nor an environment
shows it: `{endpoint, token, folder, repo}`, for push `{private, message}` and for pull `{revision, base, max_bytes}`.
The last line of stdout is the answer: `{commit, url}`, or the commit and what `lora_py.describe` says; or
`{"error": {"code", "message"}}` with exit status 1. huggingface_hub speaks to the endpoint that is given.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_py.describe import describe, refusal
from lora_py.peft_files import CONFIG_FILE, CONFIG_LIMIT, GROVE_FILE, WEIGHTS_FILE
from lora_py.peft_weights import AdapterError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NEEDED = (CONFIG_FILE, WEIGHTS_FILE)
FILES = (*NEEDED, "README.md", GROVE_FILE)


class HubError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """What both acts need; the rest is each act's own."""

    endpoint: str
    token: str | None
    folder: Path
    repo: str


def push(api: HfApi, request: Request, private: bool, message: str) -> dict[str, Any]:
    """One commit with the folder's four files. The same folder twice is the same commit."""
    with hub_errors(request):
        api.create_repo(request.repo, private=private, exist_ok=True)
        made = api.upload_folder(
            repo_id=request.repo, folder_path=request.folder, allow_patterns=list(FILES), commit_message=message
        )
    return {"commit": made.oid, "url": f"{request.endpoint}/{request.repo}"}


def pull(api: HfApi, request: Request, revision: str, base: Path, max_bytes: int) -> dict[str, Any]:
    """The four files at the commit that the revision means now, checked as any other adapter."""
    with hub_errors(request):
        info = api.model_info(request.repo, revision=revision, files_metadata=True)
    if info.sha is None:
        raise HubError("hub_refused", f"The hub did not say which commit {request.repo}@{revision} is at.")
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or ()}
    _check_files(request.repo, sizes, max_bytes)
    request.folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if name in sizes:
            with hub_errors(request):
                api.hf_hub_download(request.repo, name, revision=info.sha, local_dir=request.folder)
    shutil.rmtree(request.folder / ".cache", ignore_errors=True)
    return {"commit": info.sha, **describe(request.folder, base, max_bytes)}


def _check_files(repo: str, sizes: dict[str, int], max_bytes: int) -> None:
    for name in NEEDED:
        if name not in sizes:
            pickled = any(other.endswith((".bin", ".pt", ".pth", ".ckpt")) for other in sizes)
            more = " Pickled weights are never loaded." if pickled else ""
            raise AdapterError("adapter_not_found", f"{repo} has no {name} at its root.{more}")
    for name in FILES:
        limit = max_bytes if name == WEIGHTS_FILE else CONFIG_LIMIT
        if (size := sizes.get(name, 0)) > limit:
            raise AdapterError("adapter_invalid", f"{name} of {repo} has {size} bytes; at most {limit} are taken.")


@contextmanager
def hub_errors(request: Request) -> Iterator[None]:
    """The client's errors as ours: refused for good, or perhaps not the next time."""
    from huggingface_hub.errors import (
        BadRequestError,
        EntryNotFoundError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        message = f"{request.repo} was not found on the hub, or the token does not open it."
        raise HubError("hub_refused", message) from error
    except RevisionNotFoundError as error:
        raise HubError("hub_refused", f"{request.repo} has no such revision.") from error
    except (BadRequestError, HfHubHTTPError) as error:
        status = error.response.status_code if error.response is not None else 0
        said = (error.server_message or "").strip() or "no reason given"
        if status in (401, 403):
            raise HubError("hub_refused", f"The token may not do this on {request.repo}: {said}") from error
        if 400 <= status < 500 and status not in (408, 409, 429):
            raise HubError("hub_refused", f"The hub refused ({status}): {said}") from error
        raise HubError("hub_unavailable", f"The hub answered {status}: {said}") from error
    except (HubError, AdapterError, OSError):
        raise
    except Exception as error:  # the client library's transport has errors of its own
        reason = f"{type(error).__name__}: {error}"
        raise HubError("hub_unavailable", f"The hub at {request.endpoint} could not be reached: {reason}") from error


def open_api(request: Request) -> HfApi:
    """The library reads its settings when it is imported: none of this machine's, and no word to anybody else."""
    os.environ.pop("HF_TOKEN", None)
    os.environ["HF_ENDPOINT"] = request.endpoint
    # git-lfs, which every hub of this kind speaks; xet would find hosts of its own
    for name in ("IMPLICIT_TOKEN", "TELEMETRY", "PROGRESS_BARS", "XET"):
        os.environ[f"HF_HUB_DISABLE_{name}"] = "1"
    from huggingface_hub import HfApi

    return HfApi(endpoint=request.endpoint, token=request.token or False, library_name="grove")


def run(act: str, asked: dict[str, Any]) -> dict[str, Any]:
    request = Request(str(asked["endpoint"]), asked.get("token"), Path(asked["folder"]), str(asked["repo"]))
    api = open_api(request)
    if act == "push":
        return push(api, request, private=bool(asked["private"]), message=str(asked["message"]))
    return pull(api, request, str(asked["revision"]), Path(asked["base"]), int(asked["max_bytes"]))


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words not in (["push"], ["pull"]):
        print("Usage: python -m lora_py.hub push|pull, with a JSON object on stdin", file=sys.stderr)
        return 2
    try:
        answer = run(words[0], json.loads(sys.stdin.read()))
    except HubError as error:
        print(refusal(error.code, str(error)))
        return 1
    except (AdapterError, OSError, ValueError) as error:
        print(refusal("adapter_invalid", str(error)))
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
