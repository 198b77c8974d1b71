"""The adapter side of a server, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serving.adapters.gateway import Gateway
from serving.adapters.loader import Loader, PackOptions
from serving.adapters.options import AdapterOptions
from serving.adapters.registry import Registry
from serving.adapters.sources import LocalFolders, Origins, RemoteSource
from serving.adapters.store import DiskStore


def _remote(options: AdapterOptions) -> dict[str, RemoteSource]:
    # Each library is loaded where its source is switched on, and nowhere else.
    found: dict[str, RemoteSource] = {}
    if options.s3 is not None:
        from serving.adapters.s3 import S3Source

        found["s3"] = S3Source(options.s3, options.limits)
    if options.hub is not None:
        from serving.adapters.hub import HubSource

        found["hub"] = HubSource(options.hub, options.limits)
    return found


def open_registry(
    options: AdapterOptions,
    base_config: Mapping[str, Any],
    pack: PackOptions,
    on_evict: Callable[[str], None],
) -> tuple[Registry, Gateway | None]:
    """base_config: the base model's config.json. on_evict: told the hash of each adapter that leaves memory."""
    gateway = None
    if options.gateway_url:
        gateway = Gateway(options.gateway_url, options.internal_secret or "", options.limits)
    store = DiskStore(options.cache, options.disk_bytes)
    loader = Loader(store, base_config, pack, options.limits.max_bytes)
    local = LocalFolders(options.local, options.limits.max_bytes)
    origins = Origins(gateway, local, _remote(options), options.limits)
    return Registry(store, loader, origins, options.memory_bytes, on_evict), gateway
