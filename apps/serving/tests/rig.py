"""A registry over a real gateway, a real disk cache and local folders, without a server or an engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from gateway import SECRET, GatewayState, start_gateway
from tiny import LLAMA, write_lora

from serving.adapters.build import open_registry
from serving.adapters.fetch import FetchLimits
from serving.adapters.identity import AdapterRef
from serving.adapters.loader import PackOptions
from serving.adapters.options import AdapterOptions, HubOptions, S3Options
from serving.adapters.records import Record
from serving.adapters.registry import Registry

LIMITS = FetchLimits(connect_s=1.0, stall_s=0.5, total_s=4.0, max_bytes=1 << 20)
PACK = PackOptions(torch.float16, torch.device("cpu"), 64, 3)


@dataclass
class Rig:
    registry: Registry
    gateway: GatewayState
    root: Path
    evicted: list[str] = field(default_factory=list)

    def publish(self, name: str, seed: int, tenant: str = "a", rank: int = 4) -> AdapterRef:
        folder = self.root / "published" / tenant / f"{name}-{seed}"
        sha256 = write_lora(folder, seed, rank)
        self.gateway.adapters[tenant, f"{name}/{seed}"] = folder
        return AdapterRef(tenant, f"{name}/{seed}", sha256, "raw", "grove")

    def load(self, ref: AdapterRef, seconds: float = 20.0) -> None:
        """Loads it, and lets it go at once."""
        future = self.registry.pin(ref)
        try:
            assert future.result(seconds).key == ref.sha256
        finally:
            self.registry.unpin(ref)

    def locate(self, kind: str, adapter_id: str, tenant: str = "a") -> AdapterRef:
        found = self.registry.locator.locate(kind, adapter_id, tenant).result(20)
        return AdapterRef(tenant, adapter_id, found.sha256, found.prompt_format, kind)

    def record(self, ref: AdapterRef) -> Record:
        return next(r for r in self.registry.records() if r.ref == ref)

    @property
    def cache(self) -> Path:
        return self.root / "cache"


@contextmanager
def open_rig(
    root: Path,
    memory: int = 1 << 30,
    disk: int = 1 << 30,
    limits: FetchLimits = LIMITS,
    s3: S3Options | None = None,
    hub: HubOptions | None = None,
    pack: PackOptions = PACK,
) -> Iterator[Rig]:
    state, server = start_gateway()
    evicted: list[str] = []
    (root / "local").mkdir(parents=True, exist_ok=True)
    options = AdapterOptions(root / "cache", state.url, SECRET, root / "local", memory, disk, limits, s3, hub)
    registry, _ = open_registry(options, LLAMA, pack, evicted.append)
    try:
        yield Rig(registry, state, root, evicted)
    finally:
        state.stop.set()
        registry.close()
        server.shutdown()
