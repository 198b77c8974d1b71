"""Sources outside Grove's own store: what each must tell, and folders on this machine, the simplest of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lora_py.peft_files import GROVE_FILE, PromptFormat, prompt_format, read_files
from lora_py.peft_weights import AdapterError

from serving.adapters.fetch import FetchLimits, Sink
from serving.adapters.gateway import Gateway
from serving.adapters.identity import AdapterFailure, check_local_id
from serving.adapters.store import FILES


class RemoteSource(Protocol):
    """Adapters under the operator's own credentials, for all who may use this server."""

    def check(self, adapter_id: str) -> None:
        """Refuses an id that is malformed or not on the list of what is allowed. No network."""
        ...

    def stamp(self, adapter_id: str) -> str:
        """What changes when the adapter's files do. Blocking."""
        ...

    def fixed(self, adapter_id: str) -> bool:
        """Whether the id itself says which version, so that it never needs to be asked for again."""
        ...

    def download(self, adapter_id: str, stamp: str, name: str, sink: Sink) -> None:
        """The file as it was when the stamp was taken, or a refusal. Blocking."""
        ...


class LocalFolders:
    """`adapter_source: local`: folders under one root, named by their path below it. No link leads out of it."""

    def __init__(self, root: Path | None, max_bytes: int) -> None:
        self._root = root.resolve() if root is not None else None
        self._max_bytes = max_bytes

    def check(self, adapter_id: str) -> None:
        if self._root is None:
            raise AdapterFailure("adapter_source local is switched off here (GROVE_LOCAL_ADAPTERS is not set)")
        check_local_id(adapter_id)

    def read(self, adapter_id: str) -> tuple[bytes, bytes, PromptFormat]:
        folder = self._folder(adapter_id)
        with _named(adapter_id):
            return (*read_files(folder, self._max_bytes), prompt_format(folder))

    def form(self, adapter_id: str) -> PromptFormat:
        folder = self._folder(adapter_id)
        with _named(adapter_id):
            return prompt_format(folder)

    def stamp(self, adapter_id: str) -> tuple[tuple[int, ...], ...]:
        """Of each file: where it lies, its size, and when it and its inode were last changed."""
        folder = self._folder(adapter_id)
        stats = [path.stat() for name in (*FILES, GROVE_FILE) if (path := folder / name).is_file()]
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)

    def _folder(self, adapter_id: str) -> Path:
        self.check(adapter_id)
        assert self._root is not None
        folder = (self._root / adapter_id).resolve()
        inside = all((folder / name).resolve().is_relative_to(self._root) for name in (".", *FILES, GROVE_FILE))
        if not inside or not folder.is_dir():
            raise AdapterFailure(f"adapter {adapter_id} was not found in the local adapters folder")
        return folder


@contextmanager
def _named(adapter_id: str) -> Iterator[None]:
    try:
        yield
    except (AdapterError, OSError) as error:
        raise AdapterFailure(f"adapter {adapter_id} was refused: {error}") from error


@dataclass(frozen=True, slots=True)
class Origins:
    """Everywhere this server gets adapters from."""

    gateway: Gateway | None
    local: LocalFolders
    remote: Mapping[str, RemoteSource] = field(default_factory=dict)  # "s3", "hub"
    limits: FetchLimits = field(default_factory=FetchLimits)
