"""Which content a name means right now, for sources where the name does not say it: local folders, S3, the Hub.

A folder is read again when its files change. A remote adapter is asked for again every `RECHECK_S`; while its server is
away the last known version stays. Only one look is under way for each name, however many ask.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from lora_py.peft_files import PromptFormat, sha256_of

from serving.adapters.fetch import Sink, Unreachable, Writable, with_retries
from serving.adapters.identity import AdapterFailure, AdapterRef
from serving.adapters.loader import Loader, Made
from serving.adapters.loads import as_failure
from serving.adapters.pools import FairPool
from serving.adapters.records import Record
from serving.adapters.sources import Origins
from serving.adapters.store import DiskStore

RECHECK_S = 30.0
STEADY_TRIES = 3
LOCAL_THREADS = 4
REMOTE_THREADS, REMOTE_THREADS_PER_TENANT = 16, 4
KEPT = 1_000
KEPT_KNOWN = 10_000
Name = tuple[str, str]  # source, id


@dataclass(frozen=True, slots=True)
class Located:
    sha256: str
    prompt_format: PromptFormat
    stamp: object
    at: float  # monotonic


class Locator:
    def __init__(
        self,
        store: DiskStore,
        loader: Loader,
        origins: Origins,
        in_memory: Callable[[str], bool],
        on_made: Callable[[AdapterRef, Made, float], None],
    ) -> None:
        self._store = store
        self._loader = loader
        self._origins = origins
        self._in_memory = in_memory
        self._on_made = on_made
        self._lock = threading.Lock()
        self._local = ThreadPoolExecutor(LOCAL_THREADS, thread_name_prefix="adapter-local")
        self._pools = {
            kind: FairPool(REMOTE_THREADS, REMOTE_THREADS_PER_TENANT, f"adapter-{kind}") for kind in origins.remote
        }
        self._known: OrderedDict[Name, Located] = OrderedDict()
        self._looking: dict[Name, Future[Located]] = {}
        self._records: OrderedDict[Name, Record] = OrderedDict()  # names whose content is not known, and why

    def locate(self, kind: str, adapter_id: str, tenant: str) -> Future[Located]:
        """Raises AdapterFailure for what this server does not offer; the future fails with one too."""
        if kind != "local" and kind not in self._origins.remote:
            raise AdapterFailure(f"adapter_source {kind!r} is not enabled on this server")
        (self._origins.local if kind == "local" else self._origins.remote[kind]).check(adapter_id)
        name = (kind, adapter_id)
        with self._lock:
            future = self._looking.get(name)
            if future is None:
                future = Future()
                failed = self._records.get(name)
                if failed is not None and failed.broken:
                    future.set_exception(AdapterFailure(failed.error))
                    return future
                future.set_running_or_notify_cancel()
                self._looking[name] = future
                ref = AdapterRef(tenant, adapter_id, "", "raw", kind)
                if kind == "local":
                    self._local.submit(self._look, ref, self._look_local)
                else:
                    self._pools[kind].submit(tenant, lambda: self._look(ref, self._look_remote))
            return future

    def records(self) -> list[Record]:
        with self._lock:
            return list(self._records.values())

    def close(self) -> None:
        self._local.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.close()

    def read_local(self, adapter_id: str) -> tuple[str, bytes, bytes, PromptFormat]:
        """(hash, configuration, weights, prompt format)"""
        config, weights, form = self._origins.local.read(adapter_id)
        return sha256_of(config, weights), config, weights, form

    def download(self, ref: AdapterRef, name: str, sink: Sink) -> None:
        """Once more the files that an earlier look found."""
        known = self._known.get((ref.source, ref.id))
        if known is None or known.sha256 != ref.sha256:
            raise AdapterFailure(f"adapter {ref.id} changed while it was being loaded; send the request again")
        self._origins.remote[ref.source].download(ref.id, str(known.stamp), name, sink)

    def _look(self, ref: AdapterRef, look: Callable[[AdapterRef], Located]) -> None:
        name = (ref.source, ref.id)
        try:
            found = look(ref)
        except Exception as error:
            failure = as_failure(error, ref.id)
            with self._lock:
                self._record(ref).failed(str(failure))
                future = self._looking.pop(name)
            future.set_exception(failure)
            return
        with self._lock:
            self._records.pop(name, None)
            self._known[name] = found
            self._known.move_to_end(name)
            if len(self._known) > KEPT_KNOWN:
                self._known.popitem(last=False)
            future = self._looking.pop(name)
        future.set_result(found)

    def _look_local(self, ref: AdapterRef) -> Located:
        began, local = time.monotonic(), self._origins.local
        known = self._known.get(("local", ref.id))
        for _ in range(STEADY_TRIES):
            stamp = local.stamp(ref.id)
            if known is not None and known.stamp == stamp:
                return known
            alias = _alias(ref, stamp)
            found = self._seen_before(ref, alias, stamp, began)
            if found is not None:
                return found
            sha256, config, weights, form = self.read_local(ref.id)
            if local.stamp(ref.id) == stamp:
                break
        else:  # the two files may be of two versions
            raise AdapterFailure(f"adapter {ref.id} keeps changing while it is read; replace its folder in one step")
        if not self._in_memory(sha256):
            made = self._loader.from_packed(ref.id, sha256)
            made = made or self._loader.from_bytes(ref.id, sha256, config, weights)
            self._on_made(replace(ref, sha256=sha256, prompt_format=form), made, began)
        self._store.set_alias(alias, sha256)
        return Located(sha256, form, stamp, began)

    def _seen_before(self, ref: AdapterRef, alias: str, stamp: object, began: float) -> Located | None:
        """A folder whose files have not been touched since it was last hashed is not hashed again after a restart."""
        sha256 = self._store.alias(alias)
        if sha256 is None:
            return None
        form = self._origins.local.form(ref.id)
        if not self._in_memory(sha256):
            made = self._loader.from_packed(ref.id, sha256)
            if made is None:
                return None
            self._on_made(replace(ref, sha256=sha256, prompt_format=form), made, began)
        return Located(sha256, form, stamp, began)

    def _look_remote(self, ref: AdapterRef) -> Located:
        source, limits = self._origins.remote[ref.source], self._origins.limits
        began = time.monotonic()
        known = self._known.get((ref.source, ref.id))
        if known is not None and (source.fixed(ref.id) or began - known.at < RECHECK_S):
            return known
        deadline = began + limits.total_s
        try:
            stamp = with_retries(lambda: source.stamp(ref.id), deadline)
        except Unreachable:
            if known is None:
                raise
            return replace(known, at=began)
        if known is not None and known.stamp == stamp:
            return replace(known, at=began)
        alias = _alias(ref, stamp)
        sha256 = self._store.alias(alias)
        if sha256 is None or not self._loader.has(sha256):
            with self._lock:
                self._record(ref).state = "fetching"

            def download(name: str, file: Writable) -> None:
                source.download(ref.id, stamp, name, Sink(file, ref.id, name, limits, deadline))

            sha256 = with_retries(lambda: self._store.fetch(ref.id, None, download), deadline)
            self._store.set_alias(alias, sha256)
        return Located(sha256, "raw", stamp, began)

    def _record(self, ref: AdapterRef) -> Record:
        record = self._records.setdefault((ref.source, ref.id), Record(ref))
        record.last_use = time.time()
        if len(self._records) > KEPT:
            self._records.popitem(last=False)
        return record


def _alias(ref: AdapterRef, stamp: object) -> str:
    """A file name under which the disk tier remembers the hash of this version of the name."""
    return hashlib.sha256(repr((ref.source, ref.id, stamp)).encode()).hexdigest()
