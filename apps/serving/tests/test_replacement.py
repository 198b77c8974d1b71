"""A version replaced under load: who runs finishes on the old bytes, who comes gets the new, and nobody a mixture."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import Served
from tiny import write_lora

SWAPS = 12


def ask(served: Served, source: str, name: str) -> tuple[str, str]:
    """(hash, text)"""
    answer = served.generate("replaced under load", adapter_id=name, adapter_source=source, max_new_tokens=40)
    assert answer.status_code == 200, answer.text
    sha256 = answer.headers["x-grove-adapter"].split("@")[1]
    return sha256, answer.json()["generated_text"]


def check(served: Served, source: str, name: str, versions: dict[str, str], swap: Callable[[], None]) -> None:
    """versions: hash -> text. Four threads ask while `swap` runs; each answer must be that of its own hash."""
    stop = threading.Event()

    def swapping() -> None:
        try:
            swap()
        finally:
            stop.set()

    def client(_: int) -> list[tuple[str, str]]:
        seen = []
        while not stop.is_set():
            seen.append(ask(served, source, name))
        return seen

    with ThreadPoolExecutor(5) as pool:
        swapped = pool.submit(swapping)
        seen = [one for many in pool.map(client, range(4)) for one in many]
    swapped.result()
    assert {sha for sha, _ in seen} == set(versions)
    assert [one for one in seen if versions[one[0]] != one[1]] == []


def test_local_folders_replaced_under_load(served: Served, loras: dict[str, Path], tmp_path: Path) -> None:
    root = next(iter(loras.values())).parent
    versions = {}
    for seed in (901, 902):
        sha = write_lora(root / "hot", seed)
        found, text = ask(served, "local", "hot")
        assert found == sha
        versions[sha] = text
    assert len(set(versions.values())) == 2

    def swap() -> None:
        for turn in range(SWAPS):
            write_lora(root / f"hot-{turn}", 901 + turn % 2)
            (root / "hot-link").symlink_to(f"hot-{turn}")
            (root / "hot-link").rename(root / "hot")  # in one step, as a careful operator does it
            time.sleep(0.15)

    shutil.rmtree(root / "hot")
    write_lora(root / "hot-first", 901)
    (root / "hot").symlink_to("hot-first")
    check(served, "local", "hot", versions, swap)


def test_published_versions_replaced_under_load(served: Served, tmp_path: Path) -> None:
    versions = {}
    for seed in (911, 912):
        sha = write_lora(tmp_path / str(seed), seed)
        served.gateway.adapters["a", "hot/1"] = tmp_path / str(seed)
        found, text = ask(served, "pbase", "hot/1")
        assert found == sha
        versions[sha] = text
    current = list(versions)

    def swap() -> None:
        for turn in range(SWAPS):
            served.gateway.adapters["a", "hot/1"] = tmp_path / str(911 + turn % 2)
            assert ask(served, "pbase", "hot/1")[0] == current[turn % 2], "sent after the change, answered by the old"
            time.sleep(0.1)

    check(served, "pbase", "hot/1", versions, swap)


def test_who_runs_finishes_on_the_old_bytes(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "old", 921)
    write_lora(tmp_path / "new", 922)
    served.gateway.adapters["a", "long/1"] = tmp_path / "old"
    body = {"inputs": "a long story", "parameters": {"adapter_id": "long/1", "max_new_tokens": 200}}
    headers = {"authorization": "Bearer pb_a"}
    alone = served.http.post("/generate", json=body, headers=headers).json()["generated_text"]
    with served.http.stream("POST", "/generate_stream", json=body, headers=headers) as stream:
        lines = stream.iter_lines()
        next(lines)
        served.gateway.adapters["a", "long/1"] = tmp_path / "new"
        newer = served.http.post("/generate", json=body, headers=headers).json()["generated_text"]
        last = [json.loads(line[5:]) for line in lines if line.startswith("data:")][-1]
    assert last["generated_text"] == alone != newer
