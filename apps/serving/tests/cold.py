"""How much later the first token comes when the adapter is on local disk and not in memory.

`PYTHONPATH=.:../../packages/lora-py python tests/cold.py BASE_FOLDER [ADAPTERS]`: adapters of rank 8 on all linears,
each asked for twice with prompts of the same length; the second time it is in memory. Prints the difference, and what
the server says a load took.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx
import torch
from gateway import SECRET, start_gateway
from lora_py.peft_files import AdapterSettings, module_shapes, write_adapter
from server import running_server

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write(folder: Path, config: dict, seed: int, rank: int = 8) -> str:
    random = torch.Generator().manual_seed(seed)
    weights = {
        name: (0.02 * torch.randn(rank, size[1], generator=random), 0.02 * torch.randn(size[0], rank, generator=random))
        for name, size in module_shapes(config).items()
    }
    settings = AdapterSettings(rank, 2.0 * rank, 0.0, MODULES, "raw", "base")
    return write_adapter(folder, settings, weights, "# cold\n", {})


def first_token(http: httpx.Client, adapter: dict, headers: dict, text: str) -> float:
    """Milliseconds."""
    body = {"inputs": text, "parameters": {**adapter, "max_new_tokens": 1}}
    started = time.perf_counter()
    with http.stream("POST", "/generate_stream", json=body, headers=headers) as response:
        assert response.status_code == 200, response.read()
        next(line for line in response.iter_lines() if line.startswith("data:"))
        return (time.perf_counter() - started) * 1e3


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(what: str, url: str, asked: list[tuple[dict, dict]]) -> None:
    cold, warm = [], []
    with httpx.Client(base_url=url, timeout=60) as http:
        for number in range(10):
            first_token(http, {}, {}, f"warm-up {number}")
        for number, (adapter, headers) in enumerate(asked):
            cold.append(first_token(http, adapter, headers, f"cold {number:03} one two three four"))
            warm.append(first_token(http, adapter, headers, f"warm {number:03} one two three four"))
        listed = http.get("/adapters", headers={"authorization": f"Bearer {SECRET}"}).json()["adapters"]
    loads = [1e3 * a["load_seconds"] for a in listed]
    added = [c - w for c, w in zip(cold, warm, strict=True)]
    for name, values in (("first token, cold", cold), ("first token, warm", warm), ("added", added), ("load", loads)):
        middle, late = quantile(values, 0.5), quantile(values, 0.99)
        print(f"{what:40} {name:18} p50 {middle:6.1f} ms   p99 {late:6.1f} ms", flush=True)


def main() -> None:
    base, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100
    config = json.loads((base / "config.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        state, gateway = start_gateway()
        local, published = [], []
        for number in range(count):
            name = f"cold-{number}"
            sha = write(root / "local" / name, config, number)
            state.adapters["a", f"{name}/1"] = root / "local" / name
            state.hashes["a", f"{name}/1"] = sha
            local.append(({"adapter_id": name, "adapter_source": "local"}, {"authorization": f"Bearer {SECRET}"}))
            trusted = {"authorization": f"Bearer {SECRET}", "x-grove-tenant": "a", "x-grove-adapter": f"{name}/1@{sha}"}
            published.append(({"adapter_id": f"{name}/1"}, trusted))
        size = sum(file.stat().st_size for file in (root / "local" / "cold-0").iterdir())
        print(f"{count} adapters of {size / 1e6:.1f} MB")
        env = {
            "GROVE_GATEWAY_URL": state.url,
            "GROVE_INTERNAL_SECRET": SECRET,
            "GROVE_LOCAL_ADAPTERS": str(root / "local"),
        }
        runs = (
            ("published, over HTTP from a neighbour", published, "published"),
            ("published, packed block on disk", published, "published"),
            ("published, PEFT's files on disk", published, "published"),
            ("local folder, never seen", local, "local"),
            ("local folder, packed block on disk", local, "local"),
        )
        for what, asked, cache in runs:
            if "PEFT's" in what:
                for packed in (root / f"cache-{cache}").glob("*.packed"):
                    packed.unlink()
            with running_server(base, root / f"cache-{cache}", env, "--threads", "2") as url:
                measure(what, url, asked)
        gateway.shutdown()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
