"""Which adapter a request may use. Authority is checked on every request; a loaded adapter opens no door."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import Headers

from serving.adapters.gateway import Gateway
from serving.adapters.identity import AdapterFailure, AdapterRef, check_grove_id, parse_internal_header
from serving.adapters.registry import Loaded, Registry
from serving.server.errors import deadline_passed, generation

GROVE_SOURCES = (None, "", "grove", "pbase")
OTHER_SOURCES = ("local", "s3", "hub")
SOURCES = "pbase, grove, local, s3 or hub"
RESOLVERS = 32  # threads that wait for the gateway, apart from all others
TOKENS = 10_000
TOKEN_S = 60.0  # how long a token's tenant is remembered, for the list of its adapters alone


@dataclass(frozen=True, slots=True)
class Caller:
    tenant: str
    trusted: bool  # knows the internal secret: the gateway
    authorization: str | None
    vouched: bool = False  # its word on priority counts
    api_token: str | None = None  # of the body, as LoRAX's clients send it: used where there is no header


def _by_token(authorization: str | None) -> Caller:
    """Fairness is by tenant; callers who did not come by the gateway are told apart by their token's digest."""
    digest = hashlib.sha256(authorization.encode()).hexdigest()[:12] if authorization else ""
    return Caller(f"token-{digest}" if digest else "", False, authorization)


class Access:
    def __init__(
        self, registry: Registry, gateway: Gateway | None, secret: str | None, default_tenant: str | None
    ) -> None:
        self._registry = registry
        self._gateway = gateway
        self._secret = secret
        self._default_tenant = default_tenant
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="adapter-resolver")
        self._tenant_of: OrderedDict[str, tuple[str, float]] = OrderedDict()  # by caller's name: (tenant, when)

    def caller(self, headers: Headers) -> Caller:
        authorization = headers.get("authorization")
        if self._secret is not None and authorization is not None:
            given = authorization.removeprefix("Bearer ").encode()
            if hmac.compare_digest(given, self._secret.encode()):
                return Caller(headers.get("x-grove-tenant", ""), True, authorization, True)
        if self._default_tenant is not None:
            return Caller(self._default_tenant, False, authorization, True)
        return _by_token(authorization)

    async def resolve(
        self, caller: Caller, ids: tuple[str, ...], source: str | None, internal: str | None
    ) -> list[AdapterRef]:
        kind = source.lower() if source else source
        if not ids:
            return []
        try:
            if kind in OTHER_SOURCES:
                return [await self._locate(kind, adapter_id, caller.tenant) for adapter_id in ids]
            if kind not in GROVE_SOURCES:
                raise AdapterFailure(f"adapter_source {str(source)[:40]!r} is an invalid source; use {SOURCES}")
            for adapter_id in ids:
                check_grove_id(adapter_id)
            if caller.trusted and internal is not None:
                return parse_internal_header(internal, caller.tenant, list(ids))
            return [await self._ask(caller, adapter_id) for adapter_id in ids]
        except AdapterFailure as failure:
            raise generation(str(failure)) from failure

    def tenants(self, caller: Caller) -> frozenset[str]:
        """Whose adapters the caller may see: its own, and those of the tenant that the gateway says it is."""
        tenant, when = self._tenant_of.get(caller.tenant, (caller.tenant, 0.0))
        known = caller.authorization is not None and time.monotonic() - when < TOKEN_S
        return frozenset({caller.tenant, tenant} if known else {caller.tenant})

    async def _locate(self, kind: str, adapter_id: str, tenant: str) -> AdapterRef:
        found = self._registry.locator.locate(kind, adapter_id, tenant)
        located = await asyncio.shield(asyncio.wrap_future(found))
        return AdapterRef(tenant, adapter_id, located.sha256, located.prompt_format, kind)

    async def _resolve(self, adapter_id: str, authorization: str | None, tenant: str | None) -> AdapterRef:
        assert self._gateway is not None
        ask = partial(self._gateway.resolve, adapter_id, authorization=authorization, tenant=tenant)
        return await asyncio.get_running_loop().run_in_executor(self._resolvers, ask)

    async def _ask(self, caller: Caller, adapter_id: str) -> AdapterRef:
        if self._gateway is None:
            raise AdapterFailure(f"adapter {adapter_id} can't be resolved: this server has no GROVE_GATEWAY_URL")
        if caller.authorization is None and caller.api_token:
            caller = _by_token(f"Bearer {caller.api_token}")
        if caller.authorization is not None and not caller.trusted:
            ref = await self._resolve(adapter_id, caller.authorization, None)
            self._tenant_of[caller.tenant] = (ref.tenant, time.monotonic())
            self._tenant_of.move_to_end(caller.tenant)
            if len(self._tenant_of) > TOKENS:
                self._tenant_of.popitem(last=False)
            return ref
        tenant = caller.tenant if caller.trusted and caller.tenant else self._default_tenant
        if tenant is None:
            raise AdapterFailure(
                f"not authorized to use adapter {adapter_id}: send an Authorization header or `api_token`"
            )
        return await self._resolve(adapter_id, None, tenant)

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
