"""Many server-sent streams read by one thread, so that the reader takes as little of the machine as it can."""

from __future__ import annotations

import json
import selectors
import socket
import time
from typing import Any

Call = tuple[dict[str, Any], dict[str, str]]  # body, headers


class Stream:
    def __init__(self, port: int, path: str, call: Call) -> None:
        body = json.dumps(call[0]).encode()
        lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", "connection: close"]
        lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in call[1].items())]
        self.moments: list[float] = []  # of each event
        self.began = time.perf_counter()
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self._tail = b""
        self.beginning = b""  # of what the server said, to tell why a stream was short

    def read(self) -> bool:
        """False once the server has closed the stream."""
        data = self.socket.recv(1 << 16)
        now = time.perf_counter()
        self.beginning = (self.beginning + data)[:600]
        seen = self._tail + data
        self.moments += [now] * seen.count(b"data:")
        # what could be the beginning of the next "data:" is looked at again with what follows
        self._tail = next((seen[-n:] for n in range(4, 0, -1) if b"data:".startswith(seen[-n:])), b"")
        return bool(data)


def read_until(streams: list[Stream], enough: Any) -> None:
    """Reads all of them until `enough()` or until every one has ended."""
    with selectors.DefaultSelector() as waiting:
        for stream in streams:
            waiting.register(stream.socket, selectors.EVENT_READ, stream)
        left = len(streams)
        while left and not enough():
            for key, _ in waiting.select():
                if not key.data.read():
                    waiting.unregister(key.data.socket)
                    key.data.socket.close()
                    left -= 1
