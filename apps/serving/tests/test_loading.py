"""How adapters come into memory: apart from one another, once each, bounded in time, and out again by age and size."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rig import LIMITS, Rig, open_rig

from serving.adapters import registry as registry_module
from serving.adapters.identity import AdapterFailure
from serving.adapters.pools import FairPool


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with open_rig(tmp_path) as made:
        yield made


def test_many_stalled_downloads_of_one_tenant_delay_no_one(rig: Rig) -> None:
    stuck = [rig.publish("stuck", seed) for seed in range(1, 41)]
    rig.gateway.stall.update(ref.sha256 for ref in stuck)
    waits = [rig.registry.pin(ref) for ref in stuck]
    time.sleep(0.2)
    other = rig.publish("quick", 50, tenant="b")
    started = time.monotonic()
    rig.load(other)
    assert time.monotonic() - started < 0.4
    assert not any(wait.done() for wait in waits[:8])


def test_a_stalled_download_ends_in_a_refusal_that_says_so(rig: Rig) -> None:
    ref = rig.publish("stuck", 1)
    rig.gateway.stall.add(ref.sha256)
    started = time.monotonic()
    with pytest.raises(AdapterFailure, match="in time"):
        rig.load(ref)
    assert time.monotonic() - started < 5
    record = rig.record(ref)
    assert (record.state, record.failures) == ("failed", 1) and "stuck/1" in record.error


def test_a_trickle_that_never_stalls_still_ends_at_the_total(tmp_path: Path) -> None:
    with open_rig(tmp_path, limits=replace(LIMITS, total_s=1.0)) as rig:
        ref = rig.publish("slow", 1)
        rig.gateway.trickle.add(ref.sha256)
        started = time.monotonic()
        with pytest.raises(AdapterFailure, match="took over 1 s"):
            rig.load(ref)
        assert 0.9 < time.monotonic() - started < 2


def test_a_download_that_breaks_off_is_begun_again(rig: Rig) -> None:
    ref = rig.publish("cut", 1)
    rig.gateway.cut[ref.sha256] = 2
    rig.load(ref)
    assert rig.gateway.fetches.count(ref.sha256) == 6
    assert [p.name for p in rig.cache.iterdir() if p.name.startswith(".part")] == []


def test_a_bad_adapter_is_not_tried_again_at_once_and_then_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.adapters.records.BREAKER_S", (0.5, 30.0))
    ref = rig.publish("bad", 1)
    rig.gateway.fail_fetches = 3
    for _ in range(5):
        with pytest.raises(AdapterFailure, match="503"):
            rig.load(ref)
    assert rig.gateway.fetches.count(ref.sha256) == 3
    time.sleep(0.5)
    rig.load(ref)
    assert (rig.record(ref).state, rig.record(ref).error, rig.record(ref).failures) == ("ready", "", 0)


def test_all_who_ask_at_once_wait_for_one_load_and_who_leaves_stops_nothing(rig: Rig) -> None:
    ref = rig.publish("wanted", 1)
    rig.gateway.hold[ref.sha256] = threading.Event()
    waits = [rig.registry.pin(ref) for _ in range(20)]
    assert not any(wait.cancel() for wait in waits[:10])
    for _ in range(19):
        rig.registry.unpin(ref)
    rig.gateway.hold[ref.sha256].set()
    assert {wait.result(10).key for wait in waits} == {ref.sha256}
    assert (rig.record(ref).loads, rig.record(ref).hits) == (1, 20)
    assert rig.gateway.fetches.count(ref.sha256) == 2


def test_the_same_bytes_under_two_names_are_loaded_once_and_listed_twice(rig: Rig) -> None:
    one = rig.publish("one", 1)
    two = rig.publish("two", 1, tenant="b")
    assert one.sha256 == two.sha256
    rig.load(one)
    rig.load(two)
    assert rig.gateway.fetches.count(one.sha256) == 2
    assert {r.state for r in rig.registry.records()} == {"ready"}


def test_least_recently_used_leaves_memory_first_and_comes_back_from_disk(tmp_path: Path) -> None:
    with open_rig(tmp_path, memory=70_000) as rig:  # three of them
        refs = [rig.publish("lru", seed) for seed in range(1, 5)]
        for ref in (*refs[:3], refs[0], refs[3]):
            rig.load(ref)
        assert rig.evicted == [refs[1].sha256] and rig.record(refs[1]).state == "evicted"
        assert rig.registry.nbytes == 3 * rig.record(refs[0]).nbytes <= 70_000
        rig.load(refs[1])
        assert rig.gateway.fetches.count(refs[1].sha256) == 2  # its two files, once
        assert rig.record(refs[1]).loads == 2


def test_what_requests_hold_never_leaves_and_others_wait_for_room(tmp_path: Path) -> None:
    with open_rig(tmp_path, memory=20_000) as rig:
        held, next_ = rig.publish("held", 1), rig.publish("next", 2)
        rig.registry.pin(held).result(10)
        waiting = rig.registry.pin(next_)
        time.sleep(0.3)
        assert not waiting.done() and rig.evicted == []
        rig.registry.unpin(held)
        assert waiting.result(10).key == next_.sha256
        assert rig.evicted == [held.sha256]


def test_who_finds_no_room_in_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "ROOM_S", 0.2)
    with open_rig(tmp_path, memory=20_000) as rig:
        held, next_ = rig.publish("held", 1), rig.publish("next", 2)
        rig.registry.pin(held).result(10)
        with pytest.raises(AdapterFailure, match="no room"):
            rig.load(next_)
        rig.registry.unpin(held)


def test_a_pin_keeps_a_name_in_memory_across_its_versions(tmp_path: Path) -> None:
    with open_rig(tmp_path, memory=150_000) as rig:
        first = rig.publish("kept", 1)
        second = replace(first, sha256=rig.publish("other", 2).sha256)
        rig.load(first)
        rig.registry.keep(first)
        for seed in range(10, 20):
            rig.load(rig.publish("crowd", seed))
        assert first.sha256 not in rig.evicted and rig.record(first).pinned
        rig.load(second)
        assert (rig.record(first).pinned, rig.record(second).pinned) == (False, True)
        for seed in range(20, 30):
            rig.load(rig.publish("crowd", seed))
        assert first.sha256 in rig.evicted and second.sha256 not in rig.evicted
        assert rig.registry.unload(second) and rig.record(second).state == "evicted"


def test_pins_may_not_take_more_than_half_of_the_memory(tmp_path: Path) -> None:
    with open_rig(tmp_path, memory=60_000) as rig:
        ref = rig.publish("large", 1, rank=16)
        rig.load(ref)
        with pytest.raises(AdapterFailure, match="half"):
            rig.registry.keep(ref)
        assert not rig.record(ref).pinned


def test_a_tenant_with_much_to_fetch_leaves_room_for_another() -> None:
    pool, gate, passed = FairPool(2, 1, "test"), threading.Event(), threading.Event()
    for _ in range(5):
        pool.submit("a", lambda: gate.wait(5) and None)
    pool.submit("b", passed.set)
    assert passed.wait(2)
    gate.set()
    pool.close()
