"""The two questions that serving asks the gateway: who is this adapter, and what are its bytes."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from serving.adapters.identity import AdapterFailure, AdapterRef, check_grove_id, is_sha256

RETRY_PAUSES_S = (0.2, 0.8)
SOCKET_TIMEOUT_S = 10.0
FILE_TIMEOUT_S = 120.0


class GatewayUnreachable(AdapterFailure):
    """No answer, or a 5xx: trying again may help."""


class Gateway:
    def __init__(self, url: str, secret: str) -> None:
        self._url = url.rstrip("/")
        self._secret = secret
        # The gateway is a neighbour: a proxy from the environment must not see the internal secret.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def resolve(self, adapter_id: str, *, authorization: str | None, tenant: str | None) -> AdapterRef:
        """With the user's own authorization, or with the internal secret for a named tenant."""
        query = {"id": check_grove_id(adapter_id)}
        if authorization is None:
            query["tenant"] = tenant or ""
        path = f"/internal/adapters/resolve?{urllib.parse.urlencode(query)}"
        with self._open(path, authorization or f"Bearer {self._secret}", adapter_id) as response:
            body = response.read(1 << 16)
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

    def download(self, ref: AdapterRef, name: str, target: Path, limit: int) -> None:
        path = f"/internal/adapters/{ref.sha256}/{name}"
        deadline, size = time.monotonic() + FILE_TIMEOUT_S, 0
        with self._open(path, f"Bearer {self._secret}", ref.id) as response, target.open("wb") as file:
            while block := response.read(1 << 20):
                size += len(block)
                if size > limit:
                    raise AdapterFailure(f"adapter {ref.id} is larger than {limit} bytes")
                if time.monotonic() > deadline:
                    raise GatewayUnreachable(f"fetching adapter {ref.id} took over {FILE_TIMEOUT_S:.0f} s")
                file.write(block)

    @contextmanager
    def _open(self, path: str, authorization: str, adapter_id: str) -> Iterator[HTTPResponse]:
        request = urllib.request.Request(  # noqa: S310 (the scheme is the operator's own)
            self._url + path, headers={"authorization": authorization}
        )
        try:
            with self._opener.open(request, timeout=SOCKET_TIMEOUT_S) as response:
                yield response
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (401, 403):
                    raise AdapterFailure(f"not authorized to use adapter {adapter_id}") from error
                if error.code == 404:
                    raise AdapterFailure(f"adapter {adapter_id} was not found") from error
                if error.code >= 500:
                    raise GatewayUnreachable(f"the gateway answered {error.code} for adapter {adapter_id}") from error
                raise AdapterFailure(f"the gateway answered {error.code} for adapter {adapter_id}") from error
        except (OSError, HTTPException) as error:
            raise GatewayUnreachable(f"adapter {adapter_id} could not be fetched from the gateway: {error}") from error
