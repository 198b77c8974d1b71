"""The trainer's process as the worker starts it: event lines out, and how much memory it holds meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 1 << 20


class Trainer:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def events(self) -> Iterator[dict[str, Any]]:
        """Each as it comes, of a job or of a group's jobs."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            parsed = json.loads(line)
            event: dict[str, Any] = parsed["event"] if isinstance(parsed["event"], dict) else parsed
            if event["event"] == "failed":
                raise SystemExit(f"The trainer failed: {event['message']}")
            yield event

    def held(self) -> int:
        """Bytes resident now."""
        return self._status("VmRSS")

    def most_held(self) -> int:
        """The most since `forget_most`."""
        return self._status("VmHWM")

    def forget_most(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise SystemExit(f"This system does not tell {field}: the memory of a process is measured on Linux.")


@contextmanager
def trainer(spec: dict[str, Any], folder: Path, *settings: str) -> Iterator[Trainer]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "spec.json"
    file.write_text(json.dumps(spec))
    with (folder / "trainer.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer", "run", "--spec", str(file), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield Trainer(process)
        finally:
            process.kill()
            process.wait()
