"""Adapters from an S3-compatible store and from the Hub, both spoken to for real."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lora_py.hub_server import TOKEN, HubState, hub_server
from minio import Minio
from rig import LIMITS, Rig, open_rig
from s3server import ACCESS, SECRET_KEY, s3_server
from tiny import write_lora

from serving.adapters import locate, registry
from serving.adapters.identity import AdapterFailure
from serving.adapters.options import HubOptions, S3Options
from serving.adapters.sources import LocalFolders
from serving.adapters.store import FILES

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Minio]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        found[1].make_bucket("adapters")
        found[1].make_bucket("private")
        yield found


@pytest.fixture
def options(s3: tuple[str, Minio]) -> S3Options:
    return S3Options(s3[0], "us-east-1", ("adapters/team", "s3://adapters/one"), ACCESS, SECRET_KEY)


@pytest.fixture
def hub() -> Iterator[HubState]:
    with hub_server() as state:
        yield state


@pytest.fixture
def always_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "RECHECK_S", 0.0)


def upload(client: Minio, folder: Path, bucket: str, prefix: str) -> None:
    for name in FILES:
        client.fput_object(bucket, f"{prefix}/{name}", str(folder / name))


def refused(rig: Rig, kind: str, adapter_id: str) -> str:
    with pytest.raises(AdapterFailure) as caught:
        rig.load(rig.locate(kind, adapter_id))
    return str(caught.value)


def test_s3_serves_what_lies_there_and_follows_it(
    s3: tuple[str, Minio], options: S3Options, tmp_path: Path, always_ask: None
) -> None:
    first, second = write_lora(tmp_path / "1", 1), write_lora(tmp_path / "2", 2)
    upload(s3[1], tmp_path / "1", "adapters", "team/intents")
    with open_rig(tmp_path, s3=options) as rig:
        ref = rig.locate("s3", "s3://adapters/team/intents")
        rig.load(ref)
        assert ref.sha256 == first and rig.record(ref).state == "ready"
        assert rig.locate("s3", "adapters/team/intents").sha256 == first
        upload(s3[1], tmp_path / "2", "adapters", "team/intents")
        assert rig.locate("s3", "adapters/team/intents").sha256 == second
        rig.load(ref)  # who still runs the first may finish on it


@pytest.mark.parametrize(
    ("adapter_id", "why"),
    [
        ("adapters/teams/x", "not in a bucket or prefix"),
        ("private/team/x", "not in a bucket or prefix"),
        ("adapters/team/../../private/x", "must be bucket/prefix"),
        ("adapters/team/./x", "must be bucket/prefix"),
        ("adapters/team//x", "must be bucket/prefix"),
        ("adapters/team/%2e%2e", "must be bucket/prefix"),
        ("adapters", "must be bucket/prefix"),
        ("http://adapters/team/x", "must be bucket/prefix"),
        ("adapters/team/absent", "was not found in S3"),
    ],
)
def test_s3_refuses_by_name(options: S3Options, tmp_path: Path, adapter_id: str, why: str) -> None:
    with open_rig(tmp_path, s3=options) as rig:
        assert why in refused(rig, "s3", adapter_id)


def test_s3_with_wrong_credentials_or_away_is_told_and_not_mistaken_for_absent(
    s3: tuple[str, Minio], options: S3Options, tmp_path: Path
) -> None:
    write_lora(tmp_path / "1", 1)
    upload(s3[1], tmp_path / "1", "adapters", "one")
    with open_rig(tmp_path, s3=replace(options, secret_key="guess")) as rig:
        assert "credentials" in refused(rig, "s3", "adapters/one")
    with open_rig(tmp_path, s3=replace(options, endpoint="http://127.0.0.1:9")) as rig:
        assert "could not be fetched" in refused(rig, "s3", "adapters/one")
    with open_rig(tmp_path, s3=options, limits=replace(LIMITS, max_bytes=1000)) as rig:
        assert "larger than 1000 bytes" in refused(rig, "s3", "adapters/one")
    with open_rig(tmp_path) as rig, pytest.raises(AdapterFailure, match="not enabled"):
        rig.locate("s3", "adapters/one")


def test_a_local_folder_is_hashed_again_after_a_restart_only_if_it_was_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "SAVE_AFTER_S", 0.0)
    hashed: list[str] = []
    real = LocalFolders.read
    monkeypatch.setattr(LocalFolders, "read", lambda self, name: hashed.append(name) or real(self, name))
    shas = [write_lora(tmp_path / "local" / "x", 1)]
    for turn in range(4):
        with open_rig(tmp_path) as rig:
            ref = rig.locate("local", "x")
            rig.load(ref)
            assert ref.sha256 == shas[-1]
            until = time.monotonic() + 5
            while not list(rig.cache.glob(f"{ref.sha256}-*.packed")) and time.monotonic() < until:
                time.sleep(0.01)
        if turn == 1:
            shas.append(write_lora(tmp_path / "local" / "x", 2))
    assert len(hashed) == 2 and len(set(shas)) == 2


def hub_options(hub: HubState, token: str | None = None) -> HubOptions:
    return HubOptions(hub.url, ("acme", "other/one-of-theirs"), token)


def put(hub: HubState, folder: Path, repo: str, commit: str, seed: int) -> str:
    sha256 = write_lora(folder / commit, seed)
    hub.commits[commit] = folder / commit
    hub.branches[repo, "main"] = commit
    return sha256


def test_hub_serves_a_branch_by_its_commit_and_follows_it(hub: HubState, tmp_path: Path, always_ask: None) -> None:
    first = put(hub, tmp_path, "acme/intents", ONE, 1)
    with open_rig(tmp_path, hub=hub_options(hub)) as rig:
        ref = rig.locate("hub", "acme/intents")
        rig.load(ref)
        assert ref.sha256 == first
        assert f"HEAD /acme/intents/resolve/{ONE}/{FILES[1]}" in hub.requests  # not the branch: it may move meanwhile
        assert not any("README" in line or ".bin" in line for line in hub.requests)
        second = put(hub, tmp_path, "acme/intents", TWO, 2)
        assert rig.locate("hub", "acme/intents").sha256 == second
        assert rig.locate("hub", f"acme/intents@{ONE}").sha256 == first
        fetched = len(hub.tokens_at_store)
        with open_rig(tmp_path, hub=hub_options(hub)) as again:  # a server that starts over the same disk
            assert again.locate("hub", "acme/intents").sha256 == second
        assert len(hub.tokens_at_store) == fetched
        hub.down = True
        assert rig.locate("hub", "acme/intents").sha256 == second
        assert rig.locate("hub", f"acme/intents@{ONE}").sha256 == first


def test_hub_gets_the_token_and_the_store_behind_it_does_not(hub: HubState, tmp_path: Path) -> None:
    put(hub, tmp_path, "acme/secret", ONE, 1)
    hub.private.add("acme/secret")
    with open_rig(tmp_path / "without", hub=hub_options(hub)) as rig:
        assert "was not found on the Hub" in refused(rig, "hub", "acme/secret")
    with open_rig(tmp_path / "with", hub=hub_options(hub, TOKEN)) as rig:
        rig.load(rig.locate("hub", "acme/secret"))
    assert hub.tokens_at_store == [""]


def test_hub_bytes_that_are_not_what_the_etag_says_are_fetched_again(hub: HubState, tmp_path: Path) -> None:
    sha256 = put(hub, tmp_path, "acme/intents", ONE, 1)
    hub.corrupt = 1
    with open_rig(tmp_path, hub=hub_options(hub)) as rig:
        assert rig.locate("hub", "acme/intents").sha256 == sha256
    assert len(hub.tokens_at_store) == 2


@pytest.mark.parametrize(
    ("adapter_id", "why"),
    [
        ("evil/intents", "not of an owner"),
        ("other/another", "not of an owner"),
        ("acme/../other", "must be owner/name"),
        ("acme", "must be owner/name"),
        ("acme/x@main/../../y", "must be owner/name"),
        ("acme/x?y=1", "must be owner/name"),
        ("acme/absent", "was not found on the Hub"),
        ("acme/pickled", "pickled weights are never loaded"),
        (f"acme/pickled@{TWO}", "was not found on the Hub"),
    ],
)
def test_hub_refuses_by_name(hub: HubState, tmp_path: Path, adapter_id: str, why: str) -> None:
    put(hub, tmp_path, "acme/pickled", ONE, 1)
    (tmp_path / ONE / FILES[1]).rename(tmp_path / ONE / "adapter_model.bin")
    with open_rig(tmp_path, hub=hub_options(hub)) as rig:
        assert why in refused(rig, "hub", adapter_id)


def test_a_name_that_fails_is_listed_with_its_reason_and_not_asked_for_again_at_once(
    hub: HubState, tmp_path: Path
) -> None:
    with open_rig(tmp_path, hub=hub_options(hub)) as rig:
        for _ in range(3):
            refused(rig, "hub", "acme/absent")
        assert len(hub.requests) == 1
        record = rig.registry.records()[0]
        assert (record.ref.id, record.state, record.ref.sha256) == ("acme/absent", "failed", "")
        assert "not found" in record.error
