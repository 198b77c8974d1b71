from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is first imported, by whichever test that is

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch
from gateway import SECRET, GatewayState, start_gateway
from server import running_server
from tiny import write_lora, write_model

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_model(folder)
    return folder


@pytest.fixture(scope="session")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of mixed ranks and modules, by name."""
    root = tmp_path_factory.mktemp("loras")
    kinds = {
        "all-4": {"rank": 4},
        "all-16": {"rank": 16},
        "qv-8": {"rank": 8, "modules": ("q_proj", "v_proj")},
        "mlp-1": {"rank": 1, "modules": ("gate_proj", "up_proj", "down_proj")},
        "rs-64": {"rank": 64, "modules": ("o_proj", "down_proj"), "rslora": True},
        "odd-5": {"rank": 5},
    }
    for seed, (name, kind) in enumerate(kinds.items()):
        write_lora(root / name, seed, **kind)
    return {name: root / name for name in kinds}


@dataclass
class Served:
    url: str
    gateway: GatewayState
    http: httpx.Client

    def generate(self, text: str = "hello", token: str | None = "pb_a", **parameters: object) -> httpx.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        body = {"inputs": text, "parameters": {"max_new_tokens": 8, **parameters}}
        return self.http.post("/generate", json=body, headers=headers)


@pytest.fixture(scope="session")
def served(base: Path, loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with tenant a (token pb_a: all adapters as name/1), tenant b (pb_b: none), two slots, local folders."""
    state, gateway = start_gateway()
    state.tokens = {"pb_a": "a", "pb_b": "b"}
    state.adapters = {("a", f"{name}/1"): folder for name, folder in loras.items()}
    env = {
        "GROVE_GATEWAY_URL": state.url,
        "GROVE_INTERNAL_SECRET": SECRET,
        "GROVE_LOCAL_ADAPTERS": str(next(iter(loras.values())).parent),
    }
    cache = tmp_path_factory.mktemp("served") / "cache"
    flags = ("--adapter-slots", "2", "--max-concurrent-requests", "30", "--max-total-tokens", "256")
    with running_server(base, cache, env, *flags) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Served(url, state, client)
    gateway.shutdown()
