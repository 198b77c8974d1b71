"""The serving engine as it is run, for as long as a bench asks it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

START_S = 180.0


@contextmanager
def server(base: Path, adapters: Path, threads: int | None = None) -> Iterator[int]:
    """The port of an engine that knows the PEFT folders under `adapters`. threads: as it is run, one a core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "serving", "--model", str(base), "--port", str(port), "--log-level", "warning"]
    command += ["--local-adapters", str(adapters), "--default-tenant", "bench", "--cache", str(adapters / ".cache")]
    command += [] if threads is None else ["--threads", str(threads)]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + START_S
        while not _healthy(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("The server did not start.")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def _healthy(port: int) -> bool:
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
