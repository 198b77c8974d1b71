"""Which adapter a request may use. Authority is checked on every request; a loaded adapter opens no door."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers

from serving.adapters.gateway import Gateway
from serving.adapters.identity import AdapterFailure, AdapterRef, check_grove_id, check_local_id, parse_internal_header
from serving.adapters.registry import Loaded, Registry
from serving.server.errors import deadline_passed, generation

GROVE_SOURCES = (None, "", "grove", "pbase")
KNOWN_SOURCES = ("hub", "s3", "local", "pbase", "grove")


@dataclass(frozen=True, slots=True)
class Caller:
    tenant: str
    trusted: bool  # knows the internal secret: the gateway
    authorization: str | None
    vouched: bool = False  # its word on priority counts


class Access:
    def __init__(
        self, registry: Registry, gateway: Gateway | None, secret: str | None, default_tenant: str | None
    ) -> None:
        self._registry = registry
        self._gateway = gateway
        self._secret = secret
        self._default_tenant = default_tenant

    def caller(self, headers: Headers) -> Caller:
        authorization = headers.get("authorization")
        if self._secret is not None and authorization is not None:
            given = authorization.removeprefix("Bearer ").encode()
            if hmac.compare_digest(given, self._secret.encode()):
                return Caller(headers.get("x-grove-tenant", ""), True, authorization, True)
        if self._default_tenant is not None:
            return Caller(self._default_tenant, False, authorization, True)
        # Fairness is by tenant; callers who did not come by the gateway are told apart by their token's digest.
        digest = hashlib.sha256(authorization.encode()).hexdigest()[:12] if authorization else ""
        return Caller(f"token-{digest}" if digest else "", False, authorization)

    async def resolve(
        self, caller: Caller, ids: tuple[str, ...], source: str | None, internal: str | None
    ) -> list[AdapterRef]:
        kind = source.lower() if source else source
        if not ids:
            return []
        try:
            if kind == "local":
                checked = [check_local_id(adapter_id) for adapter_id in ids]
                return [
                    await asyncio.to_thread(self._registry.resolve_local, adapter_id, caller.tenant)
                    for adapter_id in checked
                ]
            if kind not in GROVE_SOURCES:
                known = "is not enabled on this server" if kind in KNOWN_SOURCES else "is an invalid source"
                raise AdapterFailure(f"adapter_source {str(source)[:40]!r} {known}; use pbase, grove or local")
            for adapter_id in ids:
                check_grove_id(adapter_id)
            if caller.trusted and internal is not None:
                return parse_internal_header(internal, caller.tenant, list(ids))
            return [await self._ask(caller, adapter_id) for adapter_id in ids]
        except AdapterFailure as failure:
            raise generation(str(failure)) from failure

    async def _ask(self, caller: Caller, adapter_id: str) -> AdapterRef:
        if self._gateway is None:
            raise AdapterFailure(f"adapter {adapter_id} can't be resolved: this server has no GROVE_GATEWAY_URL")
        if caller.authorization is not None and not caller.trusted:
            return await asyncio.to_thread(
                self._gateway.resolve, adapter_id, authorization=caller.authorization, tenant=None
            )
        tenant = caller.tenant if caller.trusted and caller.tenant else self._default_tenant
        if tenant is None:
            raise AdapterFailure(f"not authorized to use adapter {adapter_id}: send an Authorization header")
        return await asyncio.to_thread(self._gateway.resolve, adapter_id, authorization=None, tenant=tenant)

    @asynccontextmanager
    async def loaded(self, refs: list[AdapterRef], deadline: float | None = None) -> AsyncIterator[list[Loaded]]:
        """The adapters in memory, held there until the block ends. `deadline` is in monotonic seconds."""
        pinned: list[AdapterRef] = []
        try:
            waits = []
            for ref in refs:
                waits.append(asyncio.wrap_future(self._registry.pin(ref)))
                pinned.append(ref)
            try:
                # A client that leaves must not cancel a load that others wait for.
                every = asyncio.gather(*(asyncio.shield(wait) for wait in waits))
                left = None if deadline is None else max(0.001, deadline - time.monotonic())
                engines = await asyncio.wait_for(every, left)
            except (TimeoutError, asyncio.TimeoutError) as error:
                raise deadline_passed() from error
            except AdapterFailure as failure:
                raise generation(str(failure)) from failure
            yield [Loaded(ref, engine) for ref, engine in zip(refs, engines, strict=True)]
        finally:
            for ref in pinned:
                self._registry.unpin(ref)
