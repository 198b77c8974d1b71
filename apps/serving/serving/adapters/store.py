"""Adapter folders on local disk under their hash. A folder is there whole or not at all, and its bytes are checked
against the hash each time it is read."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from lora_py.peft_files import Adapter, read_adapter
from lora_py.peft_weights import AdapterError

from serving.adapters.gateway import RETRY_PAUSES_S, Gateway, GatewayUnreachable
from serving.adapters.identity import AdapterFailure, AdapterRef

FILES = ("adapter_config.json", "adapter_model.safetensors")


class DiskStore:
    def __init__(self, root: Path, gateway: Gateway | None, max_bytes: int, max_adapter_bytes: int) -> None:
        self._root = root
        self._gateway = gateway
        self._max_bytes = max_bytes
        self._max_adapter_bytes = max_adapter_bytes
        root.mkdir(parents=True, exist_ok=True)
        for left_over in root.glob(".part-*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def read(self, ref: AdapterRef) -> Adapter:
        """Blocking; runs on a loader thread."""
        folder = self._root / ref.sha256
        if folder.is_dir():
            try:
                adapter = read_adapter(folder, ref.sha256)
                os.utime(folder)
                return adapter
            except (AdapterError, OSError) as error:
                if isinstance(error, AdapterError) and error.code != "adapter_invalid":
                    raise AdapterFailure(f"adapter {ref.id} was refused: {error}") from error
                shutil.rmtree(folder, ignore_errors=True)  # damaged on disk: fetch it once more
        self._fetch(ref, folder)
        try:
            return read_adapter(folder, ref.sha256)
        except (AdapterError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise AdapterFailure(f"adapter {ref.id} was refused: {error}") from error

    def _fetch(self, ref: AdapterRef, folder: Path) -> None:
        if self._gateway is None:
            raise AdapterFailure(f"adapter {ref.id} can't be fetched: this server has no gateway (GROVE_GATEWAY_URL)")
        for pause in (*RETRY_PAUSES_S, None):
            try:
                self._fetch_once(self._gateway, ref, folder)
                break
            except GatewayUnreachable:
                if pause is None:
                    raise
                time.sleep(pause)
        self._trim(keep=folder)

    def _fetch_once(self, gateway: Gateway, ref: AdapterRef, folder: Path) -> None:
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=self._root))
        try:
            for name in FILES:
                gateway.download(ref, name, part / name, self._max_adapter_bytes)
            if not folder.exists():
                part.rename(folder)
        except OSError as error:
            raise AdapterFailure(f"adapter {ref.id} could not be stored: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _trim(self, keep: Path) -> None:
        """Least recently used folders go first; memory already holds what is in use."""
        folders = []
        for folder in self._root.iterdir():
            if not folder.name.startswith("."):
                size = sum(file.stat().st_size for file in folder.iterdir())
                folders.append((folder.stat().st_mtime, size, folder))
        total = sum(size for _, size, _ in folders)
        for _, size, folder in sorted(folders, key=lambda item: item[0]):
            if total <= self._max_bytes:
                return
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size


class LocalFolders:
    """`adapter_source: local`: folders under one root, named by their path below it."""

    def __init__(self, root: Path | None) -> None:
        self._root = root.resolve() if root is not None else None

    def read(self, adapter_id: str) -> Adapter:
        if self._root is None:
            raise AdapterFailure("adapter_source local is switched off here (GROVE_LOCAL_ADAPTERS is not set)")
        folder = (self._root / adapter_id).resolve()
        if not folder.is_relative_to(self._root) or not folder.is_dir():
            raise AdapterFailure(f"adapter {adapter_id} was not found in the local adapters folder")
        try:
            return read_adapter(folder)
        except (AdapterError, OSError) as error:
            raise AdapterFailure(f"adapter {adapter_id} was refused: {error}") from error

    def stamp(self, adapter_id: str) -> tuple[tuple[int, int, int], ...]:
        """Changes when the files do, so a replaced folder is read again."""
        if self._root is None:
            return ()
        folder = (self._root / adapter_id).resolve()
        if not folder.is_relative_to(self._root):
            return ()
        stats = [(folder / name).stat() for name in FILES if (folder / name).is_file()]
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)
