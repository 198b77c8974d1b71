"""The HTTP client of every contender that is a server: one connection and one thread for each request under way."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Response = tuple[dict[str, str], Any]  # headers, parsed body
Call = tuple[dict[str, Any], dict[str, str]]  # body, headers


class Client:
    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self._mine = threading.local()

    def post_all(self, calls: list[Call], in_flight: int) -> list[Response]:
        with ThreadPoolExecutor(in_flight) as pool:
            return list(pool.map(lambda call: self.post(*call), calls))

    def post(self, body: dict[str, Any], headers: dict[str, str]) -> Response:
        if not hasattr(self._mine, "connection"):
            self._mine.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        connection: http.client.HTTPConnection = self._mine.connection
        connection.request("POST", self._path, json.dumps(body), {"content-type": "application/json", **headers})
        response = connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise SystemExit(f"{self._path} answered {response.status}: {data[:300]!r}")
        return {name.lower(): value for name, value in response.getheaders()}, json.loads(data)


def wait_until(answers: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if answers():
                return
        except OSError:
            pass
        if time.monotonic() > until:
            raise SystemExit(f"{what} did not answer within {seconds:.0f} s")
        time.sleep(0.2)


def healthy(port: int, path: str = "/health") -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    finally:
        connection.close()
