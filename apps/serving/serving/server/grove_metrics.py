"""Grove's metrics: by adapter, by tenant, adapter states, KV memory. Labels are bounded: the busiest and "other"."""

from __future__ import annotations

from collections import Counter

from serving.adapters.registry import Registry
from serving.engine.engine import Engine
from serving.server.bridge import Bridge
from serving.server.cardinality import TopLabels
from serving.server.metrics import DURATIONS
from serving.server.observe import Observation, Observer, Outcome
from serving.server.prometheus import Histogram, Metric, Value

TOP_ADAPTERS = 100
TOP_TENANTS = 50
BASE, UNKNOWN, NOBODY = "(base)", "(unknown)", "(none)"  # no adapter id or tenant has parentheses
STATES = ("fetching", "ready", "resident", "failed", "evicted")


class GroveMetrics:
    def __init__(self) -> None:
        self._all: list[Metric] = []
        self._adapters = TopLabels(("tenant", "adapter"), TOP_ADAPTERS)
        self._tenants = TopLabels(("tenant",), TOP_TENANTS)
        self.by_adapter = self._family(self._adapters, "grove_adapter", "by tenant and adapter")
        self.by_tenant = self._family(self._tenants, "grove_tenant", "by tenant")
        self.waiting = self._gauge("grove_tenant_waiting", "Requests that wait for their first token, by tenant")
        self.in_flight = self._gauge("grove_requests_in_flight", "Requests that have not been answered")
        self.states = self._gauge("grove_adapters", "Adapters known, by state")
        self.memory = self._value("grove_adapter_memory", "counter", "What happened in the memory tier, by event")
        self.load_seconds = self._value("grove_adapter_load_seconds", "counter", "Seconds from asked for to ready")
        self.first_token = Histogram("grove_time_to_first_token_seconds", "From arrival to first token", DURATIONS)
        self._all.append(self.first_token)
        self.batch_adapters = self._gauge("grove_batch_adapters", "Different adapters in the last step")
        self.batch_adapters_max = self._gauge("grove_batch_adapters_max", "Most different adapters in one step")
        self.by_adapters = self._value("grove_batches", "counter", "Steps by how many different adapters they ran")
        self.resident = self._gauge("grove_adapters_resident", "Adapters that have a slot")
        self.evictions = self._value("grove_adapter_evictions", "counter", "Adapters that lost their slot")
        self.cached = self._value("grove_prompt_tokens_cached", "counter", "Prompt tokens found in the cache")
        self.computed = self._value("grove_prompt_tokens_computed", "counter", "Prompt tokens computed")
        self.drafted = self._value("grove_drafted_tokens", "counter", "Tokens guessed by prompt lookup")
        self.accepted = self._value("grove_accepted_tokens", "counter", "Guesses that were right")
        self.decoded = self._value("grove_generated_tokens", "counter", "Tokens produced")
        self.kv_free = self._gauge("grove_kv_blocks_free", "KV blocks free or only cached")
        self.kv_total = self._gauge("grove_kv_blocks_total", "KV blocks in all")
        self.kv_used = self._gauge("grove_kv_usage_ratio", "Share of the KV blocks that requests hold")

    def _family(self, labels: TopLabels, prefix: str, by: str) -> dict[str, Value]:
        texts = {
            "requests": f"Requests answered, {by}",
            "failures": f"Requests that failed, {by} and cause",
            "prompt_tokens": f"Prompt tokens, {by}",
            "generated_tokens": f"Tokens generated, {by}",
        }
        family = {name: labels.counter(f"{prefix}_{name}", text) for name, text in texts.items()}
        self._all.extend(family.values())
        return family

    def _gauge(self, name: str, text: str) -> Value:
        return self._value(name, "gauge", text)

    def _value(self, name: str, kind: str, text: str) -> Value:
        value = Value(name, kind, text)
        self._all.append(value)
        return value

    def ended(self, seen: Observation, outcome: Outcome) -> None:
        name = seen.tenant or NOBODY
        used = seen.adapter or (UNKNOWN if seen.named else BASE)
        adapter, tenant = self._adapters.note((name, used)), self._tenants.note((name,))
        for family, labels in ((self.by_adapter, adapter), (self.by_tenant, tenant)):
            if outcome.error is None:
                family["requests"].add(1, **labels)
            else:
                family["failures"].add(1, **labels, err=outcome.error)
            family["prompt_tokens"].add(seen.prompt_tokens, **labels)
            family["generated_tokens"].add(seen.generated_tokens, **labels)
        if seen.first_token_s is not None:
            self.first_token.observe(seen.first_token_s)

    def collect(self, engine: Engine, registry: Registry, bridge: Bridge, observer: Observer) -> list[Metric]:
        stats = engine.stats
        self._collect_adapters(engine, registry)
        self.waiting.values.clear()
        for tenant, waiting in bridge.waiting.items():
            self.waiting.add(waiting, **self._tenants.labels((tenant or NOBODY,)))
        self.in_flight.set(observer.in_flight)
        self.batch_adapters.set(stats.last_batch_adapters)
        self.batch_adapters_max.set(stats.max_batch_adapters)
        for adapters, count in list(stats.batches_by_adapters.items()):
            self.by_adapters.set(count, adapters=str(adapters))
        self.evictions.set(engine.bank.evictions)
        self.cached.set(stats.cached_tokens)
        self.computed.set(stats.prompt_tokens)
        self.drafted.set(stats.drafted_tokens)
        self.accepted.set(stats.accepted_tokens)
        self.decoded.set(stats.decode_tokens)
        self.kv_free.set(engine.pool.available)
        self.kv_total.set(engine.pool.total)
        self.kv_used.set(1.0 - engine.pool.available / engine.pool.total)
        return self._all

    def _collect_adapters(self, engine: Engine, registry: Registry) -> None:
        resident = engine.bank.resident()
        self.resident.set(len(resident))
        counters = registry.counters
        for event in ("hits", "misses", "fetches", "loads", "failures", "evictions"):
            self.memory.set(getattr(counters, event), event=event)
        self.load_seconds.set(counters.load_seconds)
        counts = Counter(
            "resident" if record.state == "ready" and record.ref.sha256 in resident else record.state
            for record in registry.records()
        )
        for state in (*STATES, *(counts.keys() - set(STATES))):
            self.states.set(counts[state], state=state)
