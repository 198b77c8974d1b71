"""The disk tier: adapter folders under their hash, and packed blocks beside them, least recently used out first.

Several servers may share the folder. What is there is there whole, by one rename; a folder is read under a shared
lock and removed under an exclusive one, so nobody loses it while reading; every read checks the hash.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from lora_py.peft_files import read_files, sha256_of
from lora_py.peft_weights import AdapterError

from serving.adapters.fetch import Writable
from serving.adapters.identity import AdapterFailure

FILES = ("adapter_config.json", "adapter_model.safetensors")
PACKED = ".packed"
ALIASES = 10_000
HASHERS = 2
COUNTED_S = 30.0  # how long a count of the folder is believed
WRITING_S = 600.0  # no packed block takes that long to write
Download = Callable[[str, Writable], None]  # a file's name, and where its bytes go
T = TypeVar("T")


@contextmanager
def locked(folder: Path, kind: int) -> Iterator[bool]:
    """Whether the folder was there and could be locked; `kind` is one of fcntl's."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, kind)
            held = os.path.samestat(os.fstat(handle), folder.stat())  # not one that was renamed away meanwhile
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


class _Hashing:
    """Hashes what it writes, so that nothing needs to be read back for it."""

    def __init__(self, file: BinaryIO, update: Callable[[bytes], None]) -> None:
        self._file = file
        self._update = update

    def write(self, block: bytes) -> int:
        self._update(block)
        return self._file.write(block)


class DiskStore:
    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._trimming = threading.Lock()
        self._total = 0  # bytes, as last counted and with what came since
        self._count_again = 0.0  # monotonic
        self._hashers = ThreadPoolExecutor(HASHERS, thread_name_prefix="adapter-hasher")
        self._names = root / ".names"
        self._names.mkdir(parents=True, exist_ok=True)
        for left_over in (*root.glob(".part-*"), *root.glob(".old-*")):
            with locked(left_over, fcntl.LOCK_EX | fcntl.LOCK_NB) as ours:  # nobody is at work on it
                if ours:
                    shutil.rmtree(left_over, ignore_errors=True)
            if left_over.is_file() and time.time() - left_over.stat().st_mtime > WRITING_S:
                left_over.unlink(missing_ok=True)

    def packed_path(self, sha256: str, fingerprint: str) -> Path:
        return self._root / f"{sha256}-{fingerprint}{PACKED}"

    def has(self, sha256: str) -> bool:
        return (self._root / sha256).is_dir()

    def read(self, sha256: str, max_bytes: int, use: Callable[[bytes, bytes], T]) -> T | None:
        """What `use` makes of the two files' bytes while another thread hashes them; None where they are absent. What
        does not match its hash is removed, to be fetched again, and so is what was made of it."""
        folder = self._root / sha256
        with locked(folder, fcntl.LOCK_SH) as there:
            if not there:
                return None
            with suppress(AdapterError, OSError):
                files = read_files(folder, max_bytes)
                hashed = self._hashers.submit(sha256_of, *files)
                made, failure = _made(use, files)
                if hashed.result() == sha256:
                    os.utime(folder)
                    if failure is not None:
                        raise failure
                    return made
        self._remove(folder)
        return None

    def fetch(self, adapter_id: str, expected: str | None, download: Download) -> str:
        """Blocking. Downloads both files, checks the hash where one is expected, and returns it."""
        try:
            with self._part() as part:
                digest = hashlib.sha256()  # an adapter's identity: its two files' bytes in this order
                for name in FILES:
                    with (part / name).open("wb") as file:
                        download(name, _Hashing(file, digest.update))
                sha256, size = digest.hexdigest(), _size(part)
                if expected is not None and sha256 != expected:
                    raise AdapterFailure(f"adapter {adapter_id} was refused: its SHA-256 is {sha256}, not {expected}")
                self._publish(part, self._root / sha256)
        except OSError as error:
            raise AdapterFailure(f"adapter {adapter_id} could not be stored: {error}") from error
        self.trim(keep=sha256, added=size)
        return sha256

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A new folder under our lock, gone afterwards unless it was renamed."""
        while True:
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._root))
            try:
                with locked(part, fcntl.LOCK_SH) as ours:
                    if not ours:  # a server that was starting took it for a dead one's
                        continue
                    yield part
                    return
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _publish(self, part: Path, folder: Path) -> None:
        while True:
            try:
                part.rename(folder)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if folder.is_dir():  # another server was first, with the same bytes
                    return

    def alias(self, key: str) -> str | None:
        """The hash that `set_alias` kept under this key, which must be a file name."""
        try:
            found = (self._names / key).read_text()
        except OSError:
            return None
        return found if len(found) == 64 else None

    def set_alias(self, key: str, sha256: str) -> None:
        if len(os.listdir(self._names)) >= ALIASES:
            shutil.rmtree(self._names, ignore_errors=True)  # they only save a download
            self._names.mkdir(exist_ok=True)
        (self._names / key).write_text(sha256)

    def trim(self, keep: str = "", added: int = 0) -> None:
        """Takes away what was used longest ago until the rest fits; never `keep`, nor what somebody is reading.
        `added`: bytes that came since the last call. The folder is looked at only where its sum may be over the limit,
        or is old: others may have added to it."""
        with self._trimming:
            self._total += added
            if added and self._total <= self._max_bytes and time.monotonic() < self._count_again:
                return
            self._count_again = time.monotonic() + COUNTED_S
            found = []
            for path in self._root.iterdir():
                with suppress(OSError):  # gone meanwhile
                    if not path.name.startswith("."):
                        stat = path.stat()
                        found.append((stat.st_mtime, _size(path), path))
            self._total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found, key=lambda item: item[0]):
                if self._total <= self._max_bytes:
                    return
                if not (keep and path.name.startswith(keep)) and self._remove(path):
                    self._total -= size

    def _remove(self, path: Path) -> bool:
        if path.suffix == PACKED:  # who has it open reads on
            path.unlink(missing_ok=True)
            return True
        with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as ours:
            if not ours:
                return False
            away = path.with_name(f".old-{os.getpid()}-{os.urandom(4).hex()}")
            path.rename(away)
            shutil.rmtree(away, ignore_errors=True)
        return True


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files)


def _made(use: Callable[[bytes, bytes], T], files: tuple[bytes, bytes]) -> tuple[T | None, AdapterFailure | None]:
    try:
        return use(*files), None
    except AdapterFailure as failure:
        return None, failure
