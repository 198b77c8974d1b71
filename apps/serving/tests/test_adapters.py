"""Where adapters come from, and every way in which one is refused. A refusal never turns into the base's answer."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Served
from gateway import SECRET, start_gateway
from safetensors.torch import load_file, save_file
from server import running_server
from tiny import write_lora


def trusted(served: Served, item: str, adapter_id: str, secret: str = SECRET) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}", "x-grove-tenant": "a", "x-grove-adapter": item}
    body = {"inputs": "hello", "parameters": {"adapter_id": adapter_id, "max_new_tokens": 8}}
    return served.http.post("/generate", json=body, headers=headers)


def publish(served: Served, folder: Path, name: str) -> str:
    served.gateway.adapters["a", f"{name}/1"] = folder
    return served.gateway.sha("a", f"{name}/1")


def test_gateway_header_is_trusted_and_resolves_nothing(served: Served) -> None:
    sha, resolves = served.gateway.sha("a", "qv-8/1"), served.gateway.resolves
    response = trusted(served, f"qv-8/1@{sha};format=raw", "qv-8/1")
    assert response.json() == served.generate(adapter_id="qv-8/1").json()
    assert served.gateway.resolves == resolves + 1  # the second request's
    assert response.headers["x-grove-adapter"] == f"qv-8/1@{sha}"


@pytest.mark.parametrize("item", ["", "qv-8/1", "other/1@" + "0" * 64, "qv-8/1@" + "0" * 63, "a/1@x,b/1@y"])
def test_malformed_gateway_headers_are_refused(served: Served, item: str) -> None:
    assert trusted(served, item, "qv-8/1").status_code == 424


def test_header_without_the_secret_is_ignored(served: Served) -> None:
    sha = served.gateway.sha("a", "qv-8/1")
    assert trusted(served, f"qv-8/1@{sha};format=raw", "qv-8/1", secret="guess").status_code == 424


def test_bytes_that_do_not_match_the_hash_are_refused(served: Served, loras: dict, tmp_path: Path) -> None:
    publish(served, loras["mlp-1"], "wrong-hash")
    served.gateway.hashes["a", "wrong-hash/1"] = "ab" * 32
    response = served.generate(adapter_id="wrong-hash/1")
    assert response.status_code == 424 and "SHA-256" in response.json()["error"]
    del served.gateway.hashes["a", "wrong-hash/1"]
    assert served.generate(adapter_id="wrong-hash/1").status_code == 200


def test_modules_that_do_not_fit_the_base_are_named(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "wide", 1, hidden_size=128)
    publish(served, tmp_path / "wide", "wide")
    response = served.generate(adapter_id="wide/1")
    assert response.status_code == 424
    assert "layers.0." in response.json()["error"] and "another base" in response.json()["error"]
    write_lora(tmp_path / "deep", 1, num_hidden_layers=4)
    publish(served, tmp_path / "deep", "deep")
    assert "layers.3." in served.generate(adapter_id="deep/1").json()["error"]


@pytest.mark.parametrize(
    ("key", "value"), [("use_dora", True), ("modules_to_save", ["lm_head"]), ("bias", "all"), ("peft_type", "IA3")]
)
def test_kinds_we_can_not_serve_are_refused_by_name(served: Served, tmp_path: Path, key: str, value: object) -> None:
    write_lora(tmp_path / "lora", 1)
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    name = key.replace("_", "-")
    publish(served, tmp_path / "lora", name)
    response = served.generate(adapter_id=f"{name}/1")
    assert response.status_code == 424
    assert (key if key != "peft_type" else "IA3") in response.json()["error"]


def test_broken_weights_and_nan_free_refusal(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 1)
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    publish(served, tmp_path / "lora", "cut-off")
    assert served.generate(adapter_id="cut-off/1").status_code == 424


def test_rank_over_the_limit_is_refused(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 1, rank=65, modules=("q_proj",))
    publish(served, tmp_path / "lora", "rank-65")
    assert "65" in served.generate(adapter_id="rank-65/1").json()["error"]


def test_failing_fetch_is_tried_again(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 31)
    publish(served, tmp_path / "lora", "flaky")
    served.gateway.fail_fetches = 2
    assert served.generate(adapter_id="flaky/1").status_code == 200


def test_gateway_down_gives_424_and_the_next_try_works(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 32)
    publish(served, tmp_path / "lora", "down")
    served.gateway.fail_fetches = 3
    assert served.generate(adapter_id="down/1").status_code == 424
    time.sleep(1.1)  # the breaker's first pause
    assert served.generate(adapter_id="down/1").status_code == 200


def test_slow_fetch_blocks_nobody_and_runs_once(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 33)
    sha = publish(served, tmp_path / "lora", "slow")
    served.gateway.hold[sha] = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(served.generate, adapter_id="slow/1") for _ in range(3)]
        time.sleep(0.3)
        started = time.monotonic()
        assert served.generate(adapter_id="all-4/1").status_code == 200
        assert time.monotonic() - started < 2
        assert not any(one.done() for one in slow)
        states = served.http.get("/adapters", headers={"authorization": f"Bearer {SECRET}"}).json()["adapters"]
        assert next(a["state"] for a in states if a["id"] == "slow/1") == "fetching"
        served.gateway.hold[sha].set()
        assert {one.result().status_code for one in slow} == {200}
    assert served.gateway.fetches.count(sha) == 2  # its two files, once


def test_local_folder_is_served_and_followed_when_it_changes(served: Served, loras: dict) -> None:
    root = next(iter(loras.values())).parent
    write_lora(root / "changing", 50)
    first = served.generate(adapter_id="changing", adapter_source="local")
    assert first.status_code == 200 and first.headers["x-adapter-source"] == "local"
    write_lora(root / "changing", 51)
    second = served.generate(adapter_id="changing", adapter_source="local")
    assert second.json() != first.json()
    assert served.generate(adapter_id="not-there", adapter_source="local").status_code == 424


def test_adapter_of_zeros_equals_the_base_and_says_so(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 1)
    weights = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    zeros = {name: t * 0 if "lora_B" in name else t for name, t in weights.items()}
    save_file(zeros, tmp_path / "lora" / "adapter_model.safetensors", metadata={"format": "pt"})
    publish(served, tmp_path / "lora", "zeros")
    response = served.generate(adapter_id="zeros/1")
    assert response.json() == served.generate().json()
    assert response.headers["x-adapter-id"] == "zeros/1"


def test_states_are_listed_by_tenant(served: Served) -> None:
    served.generate(adapter_id="all-16/1")
    mine = served.http.get("/adapters", headers={"authorization": f"Bearer {SECRET}"}).json()["adapters"]
    record = next(a for a in mine if a["id"] == "all-16/1")
    assert record["state"] == "resident" and record["rank"] == 16 and record["bytes"] > 0 and record["hits"] >= 1
    assert served.http.get("/adapters").json()["adapters"] == []


def test_a_token_sees_its_own_tenants_adapters_and_nobody_elses(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 72, modules=("q_proj", "v_proj"))
    served.gateway.adapters["b", "theirs/1"] = tmp_path / "lora"
    assert served.generate(adapter_id="theirs/1", token="pb_b").status_code == 200
    assert served.generate(adapter_id="all-4/1").status_code == 200

    def seen(**headers: str) -> dict[str, dict]:
        return {a["id"]: a for a in served.http.get("/adapters", headers=headers).json()["adapters"]}

    theirs = seen(authorization="Bearer pb_b")
    assert theirs["theirs/1"]["target_modules"] == ["q_proj", "v_proj"] and theirs["theirs/1"]["tenant"] == "b"
    assert {a["tenant"] for a in theirs.values()} == {"b"}
    mine = seen(authorization="Bearer pb_a")
    assert "all-4/1" in mine and "theirs/1" not in mine
    assert seen() == {} == seen(authorization="Bearer guess")
    assert {"all-4/1", "theirs/1"} <= seen(authorization=f"Bearer {SECRET}").keys()


def test_the_gateway_pins_and_users_do_not(served: Served, tmp_path: Path) -> None:
    sha = write_lora(tmp_path / "lora", 73)
    publish(served, tmp_path / "lora", "pinned")
    body = {"adapter_id": "pinned/1", "pin": True}
    trusted = {"authorization": f"Bearer {SECRET}", "x-grove-tenant": "a", "x-grove-adapter": f"pinned/1@{sha}"}
    refused = served.http.post("/adapters/load", json=body, headers={"authorization": "Bearer pb_a"})
    assert refused.status_code == 422 and "pin" in refused.json()["error"]
    assert served.http.post("/adapters/load", json=body, headers=trusted).json()["pinned"] is True
    assert served.http.post("/adapters/unload", json=body, headers=trusted).json() == {"unloaded": True}
    listed = served.http.get("/adapters", headers=trusted).json()["adapters"]
    assert next(a for a in listed if a["id"] == "pinned/1")["pinned"] is False


def test_load_and_unload_by_hand(served: Served, tmp_path: Path) -> None:
    write_lora(tmp_path / "lora", 71)
    publish(served, tmp_path / "lora", "by-hand")
    headers = {"authorization": "Bearer pb_a"}

    def post(path: str, adapter_id: str, token: str = "pb_a") -> httpx.Response:
        body = {"adapter_id": adapter_id}
        return served.http.post(path, json=body, headers={"authorization": f"Bearer {token}"})

    assert post("/adapters/load", "by-hand/1", "pb_b").status_code == 424
    assert post("/adapters/load", "by-hand/1").json()["state"] == "ready"
    assert served.generate(adapter_id="by-hand/1").status_code == 200
    assert post("/adapters/unload", "by-hand/1").json() == {"unloaded": True}
    assert post("/adapters/unload", "by-hand/1").json() == {"unloaded": False}
    assert served.generate(adapter_id="by-hand/1").status_code == 200
    assert post("/adapters/load", "nothing-here/1").status_code == 424
    assert served.http.post("/adapters/load", json={}, headers=headers).status_code == 422


def test_L11_many_more_adapters_than_slots_all_finish(served: Served, tmp_path: Path) -> None:
    for seed in range(12):
        write_lora(tmp_path / str(seed), 200 + seed, rank=2)
        publish(served, tmp_path / str(seed), f"crowd-{seed}")
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(served.generate, adapter_id=f"crowd-{i % 12}/1") for i in range(24)]
        assert {one.result().status_code for one in asked} == {200}
    metrics = served.http.get("/metrics").text
    assert "grove_adapters_resident 2" in metrics


def test_an_adapter_is_in_memory_before_the_turn_of_the_request_that_waits(
    base: Path, loras: dict, tmp_path: Path
) -> None:
    state, gateway = start_gateway()
    state.adapters = {("solo", "cold/1"): loras["all-4"]}
    env = {"GROVE_GATEWAY_URL": state.url, "GROVE_INTERNAL_SECRET": SECRET, "GROVE_DEFAULT_TENANT": "solo"}
    flags = ("--max-running", "1", "--speculative-tokens", "0")
    with running_server(base, tmp_path / "cache", env, *flags) as url, ThreadPoolExecutor(1) as pool:
        long = {"model": "", "prompt": ["hello"] * 16, "max_tokens": 400, "stream": True, "ignore_eos_token": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=long, timeout=60) as running:
            next(running.iter_lines())
            body = {"inputs": "hello", "parameters": {"adapter_id": "cold/1", "max_new_tokens": 2}}
            waits = pool.submit(httpx.post, f"{url}/generate", json=body, timeout=60)
            while not (listed := httpx.get(f"{url}/adapters").json()["adapters"]) or listed[0]["state"] == "fetching":
                time.sleep(0.01)
            assert listed[0]["state"] == "ready" and not waits.done()
        assert waits.result().status_code == 200
        assert httpx.get(f"{url}/adapters").json()["adapters"][0]["state"] == "resident"
    gateway.shutdown()


def test_L14_preload_and_default_tenant(base: Path, loras: dict, tmp_path: Path) -> None:
    state, gateway = start_gateway()
    state.adapters = {("solo", "one/1"): loras["all-4"], ("solo", "two/1"): loras["qv-8"]}
    env = {"GROVE_GATEWAY_URL": state.url, "GROVE_INTERNAL_SECRET": SECRET, "GROVE_DEFAULT_TENANT": "solo"}
    with running_server(base, tmp_path / "cache", env, "--preload", "one/1") as url:
        assert len(state.fetches) == 2
        for name in ("one/1", "two/1"):
            body = {"inputs": "hello", "parameters": {"adapter_id": name, "max_new_tokens": 3}}
            assert httpx.post(f"{url}/generate", json=body, timeout=30).status_code == 200
        assert len(state.fetches) == 4
    gateway.shutdown()
    (tmp_path / "cache" / ".part-x").mkdir()
    with running_server(base, tmp_path / "cache", {"GROVE_INTERNAL_SECRET": SECRET}) as url:
        assert not (tmp_path / "cache" / ".part-x").exists()
        response = httpx.post(f"{url}/generate", json={"inputs": "x", "parameters": {"adapter_id": "one/1"}})
        assert response.status_code == 424 and "GROVE_GATEWAY_URL" in response.json()["error"]
