"""No answer that the right weights would not have given: random traffic against an oracle of merged weights.

The long run: `python tests/test_never_wrong.py --steps 100000 --seed 1 --log FILE`; its last line says what it came to.
A mismatch is a token whose logit in the oracle lies more than 0.001 below the oracle's best (smaller gaps are near-ties
that rounding may turn), or any token's log-probability that is further than 0.03 from the oracle's; it ends the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path[:0] = [str(here.parents[1]), str(here.parents[3] / "packages" / "lora-py")]

from lora_py.grouped import SlotTable
from traffic import LOGPROB_TOLERANCE, TOLERANCE, Remembering, Traffic, Wrong

STEPS = 600
NEW_VERSIONS = 10


def test_no_request_ever_gets_another_ones_weights(base: Path, tmp_path: Path) -> None:
    traffic = Traffic(base, tmp_path, "fp32", 1)
    traffic.run(STEPS)
    tally, stats, engine = traffic.tally, traffic.bench.engine.stats, traffic.bench.engine
    assert tally.tokens > STEPS and tally.scores > 10 and tally.alone > 3
    assert tally.left > 5 and tally.refused > 2 and tally.replaced > NEW_VERSIONS
    assert engine.bank.evictions > 5 and stats.cached_tokens > 100 and stats.max_batch_adapters == 3
    assert stats.accepted_tokens > 20 and stats.drafted_tokens > stats.accepted_tokens


def test_eight_bit_answers_in_traffic_are_those_of_a_request_alone(base: Path, tmp_path: Path) -> None:
    traffic = Traffic(base, tmp_path, "int8", 3)
    traffic.run(STEPS // 3)
    assert traffic.tally.alone > STEPS // 10


def _stale_slot(traffic: Traffic, patch: pytest.MonkeyPatch) -> None:
    """A slot keeps its first adapter."""
    table = traffic.bench.engine.bank.table
    real = table.put

    def put(slot: int, adapter: object) -> None:
        if table.slots[slot : slot + 1] in ([], [None]):
            real(slot, adapter)  # type: ignore[arg-type]

    traffic.bench.engine.bank.table = _Wrapped(table, put)  # type: ignore[assignment]


class _Wrapped:
    def __init__(self, table: SlotTable, put: Callable[[int, object], None]) -> None:
        self.slots, self.widths, self.put = table.slots, table.widths, put


def _shared_prefix(traffic: Traffic, patch: pytest.MonkeyPatch) -> None:
    """Cached prefixes are found by their tokens alone."""
    from serving.engine import scheduler, sequence

    patch.setattr(sequence, "root_hash", lambda key: b"same")
    patch.setattr(scheduler, "root_hash", lambda key: b"same")


class _Agreeable(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def _drafts_believed(traffic: Traffic, patch: pytest.MonkeyPatch) -> None:
    """Every draft counts as right."""
    propose = Remembering.propose
    patch.setattr(Remembering, "propose", lambda *args: [_Agreeable(token) for token in propose(*args)])


@pytest.mark.parametrize("fault", [_stale_slot, _shared_prefix, _drafts_believed])
def test_the_oracle_catches_broken_bookkeeping(
    base: Path, tmp_path: Path, fault: Callable[[Traffic, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(base, tmp_path, "fp32", 2)
    fault(traffic, monkeypatch)
    with pytest.raises(Wrong, match=r"the oracle's|what it is alone"):
        traffic.run(300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weights", choices=("fp32", "int8", "torch"), default="fp32")
    parser.add_argument("--log", type=Path, help="progress goes here, one line each 1,000 steps (default: stdout)")
    args = parser.parse_args()
    from tiny import write_model

    with tempfile.TemporaryDirectory() as folder, open(args.log or 1, "a", buffering=1) as log:
        write_model(Path(folder) / "base")
        traffic = Traffic(Path(folder) / "base", Path(folder), args.weights, args.seed)
        started = time.monotonic()
        print(f"seed {args.seed}, weights {args.weights}, {args.steps} steps, process {os.getpid()}", file=log)
        for step in range(1, args.steps + 1):
            try:
                traffic.step()
                if step == args.steps:
                    traffic.finish()
            except BaseException as error:
                mismatches = int(isinstance(error, Wrong))
                print(f"STOPPED at step {step}: {type(error).__name__}: {error}", file=log)
                print(told(traffic, step, mismatches, time.monotonic() - started), file=log)
                raise
            if step % 1000 == 0:
                stats = traffic.bench.engine.stats
                counts = {**asdict(traffic.tally), "drafted": stats.drafted_tokens, "accepted": stats.accepted_tokens}
                counts |= {"cached": stats.cached_tokens, "evictions": traffic.bench.engine.bank.evictions}
                print(f"step {step}, {time.monotonic() - started:.0f} s, 0 mismatches, {counts}", file=log)
        print(f"PASSED: {told(traffic, args.steps, 0, time.monotonic() - started)}", file=log)


def told(traffic: Traffic, steps: int, mismatches: int, seconds: float) -> str:
    """The line that a run ends with."""
    tally = traffic.tally
    if traffic.oracle is None:
        oracle = f"{tally.alone} answers were to the bit those of a request alone"
    else:
        oracle = (
            f"{tally.near_ties} near-ties in {tally.tokens} greedy tokens (tolerance {TOLERANCE:g} of a logit below "
            f"the oracle's best; the worst was {tally.worst:.1e}), {tally.logprobs} log-probabilities within "
            f"{LOGPROB_TOLERANCE:g} (the worst was {tally.worst_logprob:.1e}), {tally.scores} scores, "
            f"{tally.alone} answers to the bit those of a request alone"
        )
    return f"{mismatches} mismatches in {steps} steps and {tally.requests} requests, {seconds:.0f} s: {oracle}"


if __name__ == "__main__":
    main()
