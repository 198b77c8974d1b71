"""Random traffic against an oracle of merged weights: no token that the right weights would not have chosen.

`GROVE_NEVER_WRONG_STEPS` makes the run longer. A mismatch is a token whose logit in the oracle lies more than TOLERANCE
below the oracle's best; smaller gaps are near-ties that rounding may turn.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import Bench, model_at
from lora_py.grouped import SlotTable, pack_adapter
from lora_py.peft_files import Weights, read_adapter
from tiny import write_lora

from serving.engine.request import EngineAdapter, Request, Sampling
from serving.engine.scheduler import Limits
from serving.models.batch import BLOCK, Batch, Chunk
from serving.models.causal import TorchModel
from serving.models.config import read_config
from serving.models.weights import ModelWeights, load_weights

STEPS = int(os.environ.get("GROVE_NEVER_WRONG_STEPS", "600"))
TOLERANCE = 1e-3
NAMES = 7


class Oracle:
    """The plain forward pass of base weights with one adapter merged into them."""

    def __init__(self, base: Path) -> None:
        self.config = read_config(base)
        self.weights = load_weights(base, self.config, torch.device("cpu"))
        self.models: dict[str, TorchModel] = {"": TorchModel(self.config, self.weights, 512)}

    def add(self, key: str, weights: Weights, scaling: float) -> None:
        self.models[key] = TorchModel(self.config, self._merged(weights, scaling), 512)

    def _merged(self, weights: Weights, scaling: float) -> ModelWeights:
        layers = []
        for index, layer in enumerate(self.weights.layers):
            changed = {}
            for name, modules in {
                "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                "o": ("self_attn.o_proj",),
                "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
                "down": ("mlp.down_proj",),
            }.items():
                target, start = getattr(layer, name).clone(), 0
                for module in modules:
                    shape = self.config.linear_shape(f"layers.{index}.{module}")
                    assert shape is not None
                    pair = weights.get(f"layers.{index}.{module}")
                    if pair is not None:
                        target[start : start + shape[0]] += scaling * (pair[1] @ pair[0])
                    start += shape[0]
                changed[name] = target
            layers.append(replace(layer, **changed))
        return replace(self.weights, layers=tuple(layers))

    def gaps(self, key: str, prompt: tuple[int, ...], answer: list[int]) -> list[float]:
        tokens = (*prompt, *answer[:-1])
        model = self.models[key]
        blocks = tuple(range(len(tokens) // BLOCK + 1))
        rows = tuple(range(len(prompt) - 1, len(tokens)))
        batch = Batch(tokens, (Chunk(0, 0, len(tokens), 0, blocks),), rows)
        logits = model.forward(batch, model.new_cache(len(blocks)), SlotTable({})).values
        chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
        return (logits.max(-1).values - chosen).tolist()


class Traffic:
    def __init__(self, base: Path, root: Path, weights: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.model = model_at(base, weights)
        self.oracle = Oracle(base)
        self.bench = Bench(self.model, kv_blocks=40, slots=3, limits=Limits(8, 48, 24, 0.5))
        self.current: dict[int, EngineAdapter] = {}
        self.versions = 0
        self.asked: dict[int, Request] = {}
        self.next_id = 0
        self.checked = self.near_ties = 0
        self.worst = 0.0
        self.starts = [tuple(self.random.randrange(256) for _ in range(40)) for _ in range(3)]
        for name in range(NAMES):
            self.replace(name)

    def replace(self, name: int) -> None:
        """New weights under an old name, as a reload does; what is running keeps its own."""
        self.versions += 1
        kinds = [{"rank": 1}, {"rank": 5}, {"rank": 16}, {"rank": 8, "modules": ("q_proj", "v_proj", "down_proj")}]
        folder = self.root / str(self.versions)
        write_lora(folder, self.versions, **self.random.choice(kinds))
        found = read_adapter(folder)
        packed = pack_adapter(
            found.weights,
            found.config.scaling,
            self.model.adapter_dtype,
            torch.device("cpu"),
            self.model.config.layers,
        )
        self.oracle.add(found.sha256, found.weights, found.config.scaling)
        self.current[name] = EngineAdapter(found.sha256, packed)

    def ask(self) -> None:
        pick, start = self.random.randrange(NAMES + 2), self.random.choice(self.starts)
        own = tuple(self.random.randrange(256) for _ in range(self.random.randrange(1, 30)))
        sampled = self.random.random() < 0.25
        request = Request(
            self.next_id,
            start[: self.random.choice((0, 16, 33, 40))] + own,
            self.random.randrange(1, 12),
            Sampling(greedy=not sampled, temperature=2.0, seed=self.next_id),
            self.current.get(pick),
            tenant=str(self.random.randrange(3)),
            continuations=((1, 2, 3), (4,)) if self.random.random() < 0.1 else (),
        )
        self.next_id += 1
        self.asked[request.id] = request
        self.bench.put(request)

    def step(self) -> None:
        roll = self.random.random()
        if roll < 0.5 and len(self.bench.engine.scheduler.waiting) < 6:
            self.ask()
        if roll > 0.97:
            self.replace(self.random.randrange(NAMES))
        if 0.90 < roll < 0.93 and self.asked:
            self.bench.engine.scheduler.cancel(self.random.choice(list(self.asked)))
        if 0.93 < roll < 0.95:
            self.bench.engine.bank.drop(self.random.choice(list(self.current.values())).key)
        self.bench.step()

    def check(self, tolerance: float) -> None:
        assert self.bench.failures() == []
        for request_id, request in self.asked.items():
            answer = self.bench.tokens(request_id)
            if not answer or not request.sampling.greedy:
                continue
            key = request.adapter.key if request.adapter else ""
            for gap in self.oracle.gaps(key, request.prompt, answer):
                self.checked += 1
                self.near_ties += 0 < gap <= tolerance
                self.worst = max(self.worst, gap)
                assert gap <= tolerance, f"request {request_id}: a token {gap:.3f} below the oracle's best"

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        self.bench.finish()


def test_no_request_ever_gets_another_ones_weights(base: Path, tmp_path: Path) -> None:
    traffic = Traffic(base, tmp_path, "fp32", seed=1)
    traffic.run(STEPS)
    traffic.check(TOLERANCE)
    stats, engine = traffic.bench.engine.stats, traffic.bench.engine
    print(f"\n{traffic.checked} tokens, {traffic.near_ties} near-ties, worst gap {traffic.worst:.6f}")
    assert traffic.checked > STEPS
    assert engine.bank.evictions > 5 and stats.cached_tokens > 100 and stats.max_batch_adapters == 3
    assert engine.pool.available == engine.pool.total and engine.scheduler._reserved == 0


def test_eight_bit_answers_in_traffic_are_those_of_a_request_alone(base: Path, tmp_path: Path) -> None:
    traffic = Traffic(base, tmp_path, "int8", seed=3)
    traffic.run(STEPS // 3)
    complete = 0
    for request_id, request in traffic.asked.items():
        answer = traffic.bench.logprobs(request_id)
        if len(answer) == request.max_new_tokens:
            alone = Bench(traffic.model)
            alone.run(request)
            assert alone.logprobs(request_id) == answer  # to the bit
            complete += 1
    assert complete > STEPS // 10


def _stale_slot(traffic: Traffic) -> None:
    table = traffic.bench.engine.bank.table
    real = table.put
    table_type = type(table)

    def put(slot: int, adapter: object) -> None:
        if adapter is None or table.slots[slot : slot + 1] in ([], [None]):
            real(slot, adapter if adapter is not None else table.slots[slot])  # type: ignore[arg-type]

    traffic.bench.engine.bank.table = _Wrapped(table, put)  # type: ignore[assignment]
    assert table_type is SlotTable


class _Wrapped:
    def __init__(self, table: SlotTable, put: Callable[[int, object], None]) -> None:
        self.slots, self.widths, self.put = table.slots, table.widths, put


def _shared_prefix(traffic: Traffic) -> None:
    from serving.engine import scheduler, sequence

    traffic.patch.setattr(sequence, "root_hash", lambda key: b"same")  # type: ignore[attr-defined]
    traffic.patch.setattr(scheduler, "root_hash", lambda key: b"same")  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", [_stale_slot, _shared_prefix])
def test_the_oracle_catches_broken_bookkeeping(
    base: Path, tmp_path: Path, fault: Callable[[Traffic], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(base, tmp_path, "fp32", seed=2)
    traffic.patch = monkeypatch  # type: ignore[attr-defined]
    fault(traffic)
    traffic.run(150)
    with pytest.raises(AssertionError, match="below the oracle's best"):
        traffic.check(TOLERANCE)
