"""The disk tier: shared by servers, bounded in bytes, never trusted unread."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from lora_py.peft_files import adapter_sha256
from rig import Rig, open_rig
from tiny import write_lora

from serving.adapters import registry
from serving.adapters import store as store_module
from serving.adapters.fetch import Writable
from serving.adapters.identity import AdapterFailure
from serving.adapters.store import FILES, DiskStore

LIMIT = 1 << 20
T = TypeVar("T")


def fill(store: DiskStore, source: Path) -> str:
    def copy(name: str, file: Writable) -> None:
        file.write((source / name).read_bytes())

    return store.fetch("x", None, copy)


def both(config: bytes, weights: bytes) -> tuple[bytes, bytes]:
    return config, weights


def test_least_recently_read_leaves_first_and_what_came_last_stays(tmp_path: Path) -> None:
    shas = [write_lora(tmp_path / str(n), n) for n in range(4)]
    size = sum((tmp_path / "0" / name).stat().st_size for name in FILES)
    store = DiskStore(tmp_path / "cache", 3 * size + size // 2)
    for n in range(3):
        fill(store, tmp_path / str(n))
        os.utime(tmp_path / "cache" / shas[n], (n, n))
    assert store.read(shas[0], LIMIT, both) is not None
    fill(store, tmp_path / "3")
    assert [store.has(sha) for sha in shas] == [True, False, True, True]


def test_what_somebody_reads_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = write_lora(tmp_path / "one", 1)
    write_lora(tmp_path / "two", 2)
    store = DiskStore(tmp_path / "cache", 1)
    fill(store, tmp_path / "one")
    reading, go_on = threading.Event(), threading.Event()
    real = store_module.read_files

    def slow(folder: Path, limit: int) -> tuple[bytes, bytes]:
        reading.set()
        go_on.wait(5)
        return real(folder, limit)

    monkeypatch.setattr(store_module, "read_files", slow)
    found = []
    reader = threading.Thread(target=lambda: found.append(store.read(sha, LIMIT, both)))
    reader.start()
    reading.wait(5)
    fill(store, tmp_path / "two")  # over the limit by far: all that nobody reads goes
    assert store.has(sha)
    go_on.set()
    reader.join()
    assert found[0] is not None
    store.trim()
    assert not store.has(sha)


@pytest.mark.parametrize("name", FILES)
def test_damage_is_noticed_and_removed(tmp_path: Path, name: str) -> None:
    sha = write_lora(tmp_path / "one", 1)
    store = DiskStore(tmp_path / "cache", 1 << 30)
    fill(store, tmp_path / "one")
    path = tmp_path / "cache" / sha / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.read(sha, LIMIT, both) is None
    assert not store.has(sha)


def test_what_was_made_of_damaged_files_is_not_given_out_and_its_failure_is_not_told(tmp_path: Path) -> None:
    sha = write_lora(tmp_path / "one", 1)
    store = DiskStore(tmp_path / "cache", 1 << 30)
    fill(store, tmp_path / "one")

    def refuse(config: bytes, weights: bytes) -> None:
        raise AdapterFailure("refused")

    with pytest.raises(AdapterFailure, match="refused"):
        store.read(sha, LIMIT, refuse)
    assert store.has(sha)
    path = tmp_path / "cache" / sha / FILES[1]
    path.write_bytes(path.read_bytes() + b"x")
    assert store.read(sha, LIMIT, refuse) is None
    assert not store.has(sha)


def test_the_folder_is_counted_again_where_others_may_have_added_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shas = [write_lora(tmp_path / str(n), n) for n in range(4)]
    size = sum((tmp_path / "0" / name).stat().st_size for name in FILES)
    store, other = (DiskStore(tmp_path / "cache", 2 * size + size // 2) for _ in range(2))
    fill(store, tmp_path / "0")  # counts
    fill(other, tmp_path / "1")
    fill(other, tmp_path / "2")  # over the limit: the first leaves
    assert [store.has(sha) for sha in shas[:3]] == [False, True, True]
    monkeypatch.setattr(store_module, "COUNTED_S", 0.0)
    monkeypatch.setattr(store, "_count_again", 0.0)
    fill(store, tmp_path / "3")  # what it knows of would fit
    assert sum(store.has(sha) for sha in shas) == 2


def wait_for(seen: Callable[[], T | None], otherwise: str) -> T:
    until = time.monotonic() + 20
    while not (found := seen()):
        assert time.monotonic() < until, otherwise
        time.sleep(0.01)
    return found


def block_of(rig: Rig) -> Path:
    """The packed block, once it has been written (a dot file is one that is still being written)."""
    return wait_for(lambda: next(rig.cache.glob("[!.]*.packed"), None), "no packed block was written")


@pytest.fixture
def saved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SAVE_AFTER_S", 0.0)


def test_a_damaged_block_is_packed_again_and_a_damaged_adapter_fetched_again(
    tmp_path: Path, saved_at_once: None
) -> None:
    with open_rig(tmp_path) as rig:
        ref = rig.publish("hurt", 1)
        rig.load(ref)
        block = block_of(rig)
        whole = block.read_bytes()
        rig.registry.unload(ref)
        block.write_bytes(whole[:-3] + b"abc")
        rig.load(ref)
        assert len(rig.gateway.fetches) == 2
        wait_for(lambda: block.exists() and block.read_bytes() == whole, "the damaged block was not packed again")
        rig.registry.unload(ref)
        block.unlink()
        weights = rig.cache / ref.sha256 / FILES[1]
        weights.write_bytes(weights.read_bytes()[:-3])
        rig.load(ref)
        assert len(rig.gateway.fetches) == 4


def test_a_packed_block_saves_the_fetch_when_the_folder_is_gone(tmp_path: Path, saved_at_once: None) -> None:
    with open_rig(tmp_path) as rig:
        ref = rig.publish("packed", 1)
        rig.load(ref)
        block_of(rig)
        rig.registry.unload(ref)
        shutil.rmtree(rig.cache / ref.sha256)
        rig.load(ref)
        assert len(rig.gateway.fetches) == 2


def test_a_full_disk_is_a_refusal_that_leaves_nothing_behind(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "cache", 1 << 30)

    def full(name: str, file: Writable) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(AdapterFailure, match="No space left"):
        store.fetch("x", None, full)
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [".names"]


def test_a_server_that_starts_leaves_alone_what_another_is_fetching(tmp_path: Path) -> None:
    write_lora(tmp_path / "one", 1)
    store = DiskStore(tmp_path / "cache", 1 << 30)
    (tmp_path / "cache" / ".part-of-a-dead-server").mkdir()

    def start_another(name: str, file: Writable) -> None:
        DiskStore(tmp_path / "cache", 1 << 30)
        file.write((tmp_path / "one" / name).read_bytes())

    sha = store.fetch("x", None, start_another)
    assert store.read(sha, LIMIT, both) is not None
    assert not list((tmp_path / "cache").glob(".part-*"))


def _churn(cache: Path, sources: Path, shas: list[str], seed: int, wrong: list[str]) -> None:
    size = sum(f.stat().st_size for f in (sources / "0").iterdir())
    store = DiskStore(cache, 2 * size)  # room for two of the four, so that every fetch removes
    until = time.monotonic() + 1.5
    n = seed
    while time.monotonic() < until:
        n += 1
        found = store.read(shas[n % 4], LIMIT, both)
        if found is None:
            try:
                if fill(store, sources / str(n % 4)) != shas[n % 4]:
                    wrong.append("hash")
            except AdapterFailure as failure:
                wrong.append(str(failure))
        elif found[1] != (sources / str(n % 4) / FILES[1]).read_bytes():
            wrong.append("bytes")
    print(wrong[:3])
    os._exit(1 if wrong else 0)


def test_servers_that_share_a_folder_never_see_a_wrong_or_half_adapter(tmp_path: Path) -> None:
    shas = [write_lora(tmp_path / "src" / str(n), n) for n in range(4)]
    assert shas[0] == adapter_sha256(tmp_path / "src" / "0")
    spawn = multiprocessing.get_context("fork")
    others = [
        spawn.Process(target=_churn, args=(tmp_path / "cache", tmp_path / "src", shas, seed, [])) for seed in range(3)
    ]
    for other in others:
        other.start()
    for other in others:
        other.join(20)
    assert [other.exitcode for other in others] == [0, 0, 0]
