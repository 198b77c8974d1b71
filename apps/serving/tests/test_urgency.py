"""Priorities, deadlines, readiness, and a server that leaves without dropping anybody."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Served
from gateway import SECRET
from server import free_port, running_server, serving_process
from tiny import write_lora

from serving.server.listen import Server
from serving.server.settings import read_settings
from serving.server.start import build

# More answers than the model can finish while the server is told to leave and asked whether it does.
LONG_STREAM = {"model": "", "prompt": ["hello"] * 24, "max_tokens": 400, "stream": True, "ignore_eos_token": True}
GATEWAY = {"authorization": f"Bearer {SECRET}", "x-grove-tenant": "a"}


def ask(url: str, headers: dict[str, str] | None = None, tokens: int = 8, **more: object) -> httpx.Response:
    body = {"inputs": "hello", "parameters": {"max_new_tokens": tokens, "ignore_eos_token": True, **more}}
    return httpx.post(f"{url}/generate", json=body, headers=headers or {}, timeout=60)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-grove-priority": "urgent"},
        {"x-grove-priority": "high"},
        {"x-grove-deadline-ms": "soon"},
        {"x-grove-deadline-ms": "0"},
        {"x-grove-deadline-ms": "-5"},
        {"x-grove-deadline-ms": "9" * 30},
    ],
    ids=str,
)
def test_wrong_hints_are_refused_by_name(served: Served, headers: dict[str, str]) -> None:
    refused = ask(served.url, headers)
    assert refused.status_code == 422 and next(iter(headers)) in refused.json()["error"]
    as_openai = httpx.post(f"{served.url}/v1/completions", json={"model": "", "prompt": "x"}, headers=headers)
    assert as_openai.status_code == 400 and as_openai.json()["error"]["param"] == next(iter(headers))


def test_deadline_that_passes_before_the_first_token_is_504(served: Served, tmp_path: Path) -> None:
    served.gateway.adapters["a", "slow/1"] = tmp_path / "slow"
    sha = write_lora(tmp_path / "slow", 77)
    served.gateway.hold[sha] = threading.Event()
    refused = ask(served.url, {**GATEWAY, "x-grove-deadline-ms": "200"}, adapter_id="slow/1")
    served.gateway.hold.pop(sha).set()
    assert refused.status_code == 504
    assert refused.json()["error_type"] == "deadline" and refused.headers["x-should-retry"] == "false"


def test_deadline_that_passes_in_the_queue_is_504_on_streams_of_openai_too(impatient: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        long = [pool.submit(ask, impatient, None, 480, temperature=1.0) for _ in range(4)]
        while gauge(impatient, "grove_requests_in_flight") < 4:
            time.sleep(0.01)
        body = {"model": "", "prompt": "x", "stream": True}
        late = httpx.post(f"{impatient}/v1/completions", json=body, headers={"x-grove-deadline-ms": "40"})
    assert late.status_code == 504 and late.json()["error"]["code"] == "deadline"
    assert [one.result().status_code for one in long] == [200] * 4


def test_deadline_that_passes_later_cuts_the_answer(impatient: str) -> None:
    answer = ask(impatient, {"x-grove-deadline-ms": "40"}, 480, details=True, temperature=1.0).json()["details"]
    assert answer["finish_reason"] == "length" and 0 < answer["generated_tokens"] < 480


def test_urgent_requests_pass_those_that_wait(impatient: str) -> None:
    ended: list[str] = []

    def one(name: str) -> None:
        assert ask(impatient, {"x-grove-priority": name}, 200).status_code == 200
        ended.append(name)

    with ThreadPoolExecutor(9) as pool:
        for name in ["normal", "normal", *["low"] * 4, *["high"] * 2]:
            pool.submit(one, name)
            time.sleep(0.01)
    assert max(at for at, name in enumerate(ended) if name == "high") <= 4 and ended[-3:] == ["low"] * 3


def test_start_probe_runs_a_token(served: Served) -> None:
    before = httpx.get(f"{served.url}/metrics", headers={"accept": "application/json"}).json()
    assert httpx.get(f"{served.url}/startup").status_code == 200
    after = httpx.get(f"{served.url}/metrics", headers={"accept": "application/json"}).json()
    tokens = [found["grove_generated_tokens"]["data"][0]["value"] for found in (before, after)]
    assert tokens[1] == tokens[0] + 1


def test_leaving_server_finishes_what_runs_and_refuses_the_rest(base: Path, tmp_path: Path) -> None:
    with serving_process(base, tmp_path / "cache", {}, "--drain-s", "15") as (url, process):
        with httpx.stream("POST", f"{url}/v1/completions", json=LONG_STREAM, timeout=60) as running:
            lines = running.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            refused = wait_for_refusal(url)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            assert refused.json()["error_type"] == "draining"
            assert httpx.get(f"{url}/health").status_code == 503
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(10) == 0


def gauge(url: str, name: str) -> float:
    found = httpx.get(f"{url}/metrics", headers={"accept": "application/json"}).json()
    return float(found[name]["data"][0]["value"])


def long_request(tokens: int) -> dict[str, object]:
    return {"inputs": "hello", "parameters": {"max_new_tokens": tokens, "ignore_eos_token": True}}


def wait_for_refusal(url: str) -> httpx.Response:
    for _ in range(100):
        answer = ask(url, tokens=1)
        if answer.status_code != 200:
            break
    return answer


def test_server_whose_engine_has_died_tells_those_who_wait_and_ends(base: Path, tmp_path: Path) -> None:
    port = free_port()
    settings = read_settings(
        ["--model", str(base), "--port", str(port), "--cache", str(tmp_path), "--threads", "1"], {}
    )

    async def run() -> tuple[httpx.Response, bool]:
        app, context = build(settings)
        context.generator.bridge.attach(asyncio.get_running_loop(), context.engine)
        context.engine.start()
        server = Server(app, context)
        serving = asyncio.create_task(server.serve())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            while not server.started:
                await asyncio.sleep(0.01)
            waits = asyncio.create_task(http.post("/generate", json=long_request(480)))
            while not context.generator.in_flight:
                await asyncio.sleep(0.001)
            context.engine.stop()
            answer = await waits
        await serving
        context.registry.close()
        return answer, server.failed

    answer, failed = asyncio.run(run())
    assert (answer.status_code, failed) == (424, True) and "engine has stopped" in answer.json()["error"]


@pytest.fixture(scope="module")
def impatient(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cache = tmp_path_factory.mktemp("impatient") / "cache"
    flags = ("--client-timeout-s", "0.5", "--max-running", "2", "--default-tenant", "a")
    with running_server(base, cache, {}, *flags) as url:
        yield url


def connection(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.settimeout(10)
    client.connect((host, int(port)))
    return client


HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(("sent", "told"), [(HEAD, b""), (HEAD + b"content-length: 99\r\n\r\n{", b" 408 ")])
def test_request_that_never_ends_is_cut_off(impatient: str, sent: bytes, told: bytes) -> None:
    with connection(impatient) as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert told in answer and bool(told) == bool(answer)


def test_reader_that_stops_reading_does_not_hold_its_place(impatient: str) -> None:
    asked = {"model": "", "prompt": ["hello"] * 8, "n": 4, "max_tokens": 400, "stream": True, "logprobs": 20}
    body = json.dumps({**asked, "ignore_eos_token": True}).encode()
    with connection(impatient) as client:
        client.sendall(HEAD + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        client.recv(100)
        assert gauge(impatient, "grove_requests_in_flight") == 1
        until = time.monotonic() + 20
        while gauge(impatient, "grove_requests_in_flight") and time.monotonic() < until:
            time.sleep(0.1)
        assert gauge(impatient, "grove_requests_in_flight") == 0
        assert gauge(impatient, "grove_kv_blocks_free") == gauge(impatient, "grove_kv_blocks_total")
    assert ask(impatient).status_code == 200
