"""A real server process for protocol tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATHS = os.pathsep.join([str(HERE.parent), str(HERE.parent.parent.parent / "packages" / "lora-py")])

KERNELS = os.environ.get("GROVE_KERNEL_CACHE") or str(Path.home() / ".cache" / "grove-kernels")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def running_server(model: Path, cache: Path, env: dict[str, str], *flags: str) -> Iterator[str]:
    with serving_process(model, cache, env, *flags) as (url, _):
        yield url


@contextmanager
def serving_process(
    model: Path, cache: Path, env: dict[str, str], *flags: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its log is in `cache`'s folder as serving-PORT.log."""
    port = free_port()
    command = [sys.executable, "-m", "serving", "--model", str(model), "--port", str(port), "--threads", "1"]
    log = (cache.parent / f"serving-{port}.log").open("w+")
    process = subprocess.Popen(
        [*command, "--cache", str(cache), *flags],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PATHS, "GROVE_KERNEL_CACHE": KERNELS, **env},
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            if process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        log.seek(0)
        assert process.poll() is None, log.read()
        yield url, process
    finally:
        process.terminate()
        try:
            process.wait(25)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        log.close()
