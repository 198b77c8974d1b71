"""The two questions that serving asks the gateway: who is this adapter, and what are its bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serving.adapters.fetch import FetchLimits, Sink, Unreachable
from serving.adapters.identity import AdapterFailure, AdapterRef, check_grove_id, is_sha256

ANSWER_LIMIT = 1 << 16


class Gateway:
    def __init__(self, url: str, secret: str, limits: FetchLimits | None = None) -> None:
        limits = limits or FetchLimits()
        self._secret = secret
        # The gateway is a neighbour: a proxy from the environment must not see the internal secret.
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            trust_env=False,
            timeout=httpx.Timeout(limits.stall_s, connect=limits.connect_s),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
        )

    def resolve(self, adapter_id: str, *, authorization: str | None, tenant: str | None) -> AdapterRef:
        """With the user's own authorization, or with the internal secret for a named tenant."""
        query = {"id": check_grove_id(adapter_id)}
        if authorization is None:
            query["tenant"] = tenant or ""
        body = b""
        url = httpx.URL("/internal/adapters/resolve", params=query)
        with self._open(url, authorization or f"Bearer {self._secret}", adapter_id) as response:
            for block in response.iter_bytes():
                body += block
                if len(body) > ANSWER_LIMIT:
                    break
        try:
            answer = json.loads(body)
            ref = AdapterRef(
                str(answer["tenant"]), str(answer["id"]), answer["sha256"], answer["prompt_format"], "grove"
            )
        except (ValueError, KeyError, TypeError) as error:
            raise AdapterFailure(f"the gateway's answer about {adapter_id} was not understood") from error
        if ref.id != adapter_id or not is_sha256(ref.sha256) or ref.prompt_format not in ("raw", "chat"):
            raise AdapterFailure(f"the gateway's answer about {adapter_id} was not understood")
        return ref

    def download(self, ref: AdapterRef, name: str, sink: Sink) -> None:
        url = httpx.URL(f"/internal/adapters/{ref.sha256}/{name}")
        with self._open(url, f"Bearer {self._secret}", ref.id) as response:
            for block in response.iter_bytes():
                sink.write(block)

    @contextmanager
    def _open(self, url: httpx.URL, authorization: str, adapter_id: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", url, headers={"authorization": authorization}) as response:
                status = response.status_code
                if status in (401, 403):
                    raise AdapterFailure(f"not authorized to use adapter {adapter_id}")
                if status == 404:
                    raise AdapterFailure(f"adapter {adapter_id} was not found")
                if status >= 500 or status == 429:
                    raise Unreachable(f"the gateway answered {status} for adapter {adapter_id}")
                if status != 200:
                    raise AdapterFailure(f"the gateway answered {status} for adapter {adapter_id}")
                yield response
        except httpx.TimeoutException as error:
            raise Unreachable(f"adapter {adapter_id}: the gateway did not answer in time") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"adapter {adapter_id} could not be fetched from the gateway: {reason}") from error
