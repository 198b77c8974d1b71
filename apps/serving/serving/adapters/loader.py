"""From an adapter's bytes to weights ready to run. The packed block is kept on disk: the next load skips the rest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from lora_py.arena import FORMAT, NotPacked, pack_arena, read_packed, write_packed
from lora_py.peft_files import check_against_base, module_shapes, parse_adapter
from lora_py.peft_weights import AdapterError, unfused

from serving.adapters.identity import AdapterFailure
from serving.adapters.store import DiskStore
from serving.engine.request import EngineAdapter

log = logging.getLogger("serving.adapters")


@dataclass(frozen=True, slots=True)
class PackOptions:
    dtype: torch.dtype
    device: torch.device
    max_rank: int
    layers: int


@dataclass(frozen=True, slots=True)
class Made:
    adapter: EngineAdapter
    save: Callable[[], None]  # keeps the packed block on disk; may wait until the adapter is in use


class Loader:
    def __init__(self, store: DiskStore, base_config: Mapping[str, Any], options: PackOptions, max_bytes: int) -> None:
        self._store = store
        self._base_config = base_config
        self._options = options
        self._max_bytes = max_bytes
        shapes = json.dumps([FORMAT, str(options.dtype), module_shapes(base_config)])
        self._fingerprint = hashlib.sha256(shapes.encode()).hexdigest()[:16]

    def has(self, sha256: str) -> bool:
        return self._store.packed_path(sha256, self._fingerprint).exists() or self._store.has(sha256)

    def from_disk(self, adapter_id: str, sha256: str) -> Made | None:
        """Blocking. None where the disk tier does not have it whole."""
        packed = self.from_packed(adapter_id, sha256)
        if packed is not None:
            return packed
        return self._store.read(sha256, self._max_bytes, lambda *files: self.from_bytes(adapter_id, sha256, *files))

    def from_packed(self, adapter_id: str, sha256: str) -> Made | None:
        options, path = self._options, self._store.packed_path(sha256, self._fingerprint)
        try:
            packed = read_packed(path, self._about(sha256), options.dtype, options.device, options.layers)
        except FileNotFoundError:
            return None
        except (NotPacked, OSError) as error:
            log.warning("packed adapter %s was %s; it is packed again", path.name, error)
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)
        self._check_rank(adapter_id, packed.rank)
        return Made(EngineAdapter(sha256, packed), lambda: None)

    def from_bytes(self, adapter_id: str, sha256: str, config_bytes: bytes, weight_bytes: bytes) -> Made:
        """The caller checks, before or meanwhile, that the bytes have that hash."""
        options = self._options
        try:
            adapter = parse_adapter(config_bytes, weight_bytes, sha256)
            check_against_base(adapter, self._base_config)
            self._check_rank(adapter_id, max(a.shape[0] for a, _ in adapter.weights.values()))
            weights, origins = unfused(adapter.weights, self._base_config)

            def scaling(name: str) -> float:
                return adapter.config.module_scaling(origins.get(name, name))

            packed, arena, places = pack_arena(weights, scaling, options.dtype, options.device, options.layers)
        except AdapterError as error:
            raise AdapterFailure(f"adapter {adapter_id} was refused: {error}") from error

        def save() -> None:
            try:
                write_packed(self._store.packed_path(sha256, self._fingerprint), arena, places, self._about(sha256))
                self._store.trim(keep=sha256, added=arena.nbytes)
            except OSError as error:
                log.warning("packed adapter %s could not be kept on disk: %s", sha256, error)

        return Made(EngineAdapter(sha256, packed), save)

    def _about(self, sha256: str) -> dict[str, str]:
        return {"sha256": sha256, "base": self._fingerprint}

    def _check_rank(self, adapter_id: str, rank: int) -> None:
        limit = self._options.max_rank
        if rank > limit:
            raise AdapterFailure(f"adapter {adapter_id} was refused: it has rank {rank}; the limit is {limit}")
