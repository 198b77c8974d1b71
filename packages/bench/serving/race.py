"""Contenders as processes that take turns: all but the one whose turn it is are stopped, so nobody's idling costs
another. A turn's processor time is that of the contender's whole process tree."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
Turn = dict[str, Any]


class ContenderFailed(Exception):
    """It did not start or did not answer; the message has the end of its log."""


class Contender:
    def __init__(
        self, name: str, command: list[str], threads: int, logs: Path, env: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = logs / f"{name}.log"
        logs.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    "OMP_WAIT_POLICY": "PASSIVE",
                    "OMP_NUM_THREADS": str(threads),
                    "GROVE_BENCH_THREADS": str(threads),
                    **(env or {}),
                },
            )
        self._buffer = b""
        self._ready = False

    def ready(self, seconds: float = 300) -> None:
        if not self._ready:
            self._line(b"ready", seconds)
            self._ready = True
            self._signal(signal.SIGSTOP)

    def turn(self, task: dict[str, Any], seconds: float = 600) -> Turn:
        self.ready()
        self._signal(signal.SIGCONT)
        cpu = self._cpu_seconds()
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(task) + "\n").encode())
        self._process.stdin.flush()
        result: Turn = json.loads(self._line(b"{", seconds))
        result["cpu"] = self._cpu_seconds() - cpu
        self._signal(signal.SIGSTOP)
        return result

    def leave(self) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)  # its session's group: servers and workers that it started too
        except ProcessLookupError as error:
            raise ContenderFailed(f"{self.name} has ended: {self._tail()}") from error

    def _cpu_seconds(self) -> float:
        total = 0.0
        parent = psutil.Process(self._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        return total

    def _line(self, start: bytes, seconds: float) -> bytes:
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while True:
            line, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                if line.startswith(start):
                    return line
                continue
            waited, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 1 << 20) if waited else b""
            if not data:
                why = "ended" if waited else f"was silent for {seconds:.0f} s"
                raise ContenderFailed(f"{self.name} {why}: {self._tail()}")
            self._buffer += data

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-4:])[-800:] or "its log is empty"
