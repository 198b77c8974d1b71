"""The cost model against a machine whose costs are known."""

from __future__ import annotations

import random
import statistics

import pytest

from serving.engine.pace import LEAST_ROWS, STRETCH, Pace, keys_before


def run_prompt(pace: Pace, decode_rows: int, length: int, noise: float = 0.0) -> list[float]:
    """Seconds of the steps that run a prompt of `length` beside `decode_rows`, on a machine with known costs."""
    dice, steps, done = random.Random(1), [], 0
    while done < length:
        count = pace.budget(decode_rows, 128, 512).take(done, length - done)
        assert count >= min(LEAST_ROWS, length - done)
        keys = keys_before(done, count)
        seconds = (0.02 + 0.0015 * decode_rows + 0.001 * count + 1e-6 * keys) * (1 + noise * dice.uniform(-1, 1))
        pace.seen(decode_rows, count, keys, seconds)
        steps.append(seconds)
        done += count
    return steps


def warmed() -> Pace:
    pace = Pace()
    for _ in range(30):
        pace.seen(15, 0, 0, 0.0425)
    pace.seen(0, 200, keys_before(0, 200), 0.02 + 0.2 + 1e-6 * keys_before(0, 200))
    return pace


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_long_prompt_beside_others_stays_within_the_stretch(noise: float) -> None:
    steps = run_prompt(warmed(), 15, 2000, noise)
    assert max(steps[3:]) < 1.25 * STRETCH * 0.0425 * (1 + noise)
    assert statistics.median(steps) > 0.75 * STRETCH * 0.0425, "the prompt must use what it may"


def test_steps_end_with_full_tiles_and_stay_within_the_stretch() -> None:
    pace, counts = warmed(), []
    pace.tile = 16
    while sum(counts) < 2000:
        counts.append(pace.budget(15, 128, 512).take(sum(counts), 2000 - sum(counts)))
    assert all((15 + count) % 16 == 0 for count in counts[:-1])
    plain = warmed().budget(15, 128, 512).take(0, 2000)
    assert abs(counts[0] - plain) <= 8
    assert max(run_prompt(pace, 15, 2000)[3:]) < 1.25 * STRETCH * 0.0425


def test_tiles_take_nothing_from_a_prompt_that_fits_and_give_the_first_its_least() -> None:
    pace = warmed()
    pace.tile = 16
    assert pace.budget(15, 128, 512).take(0, 7) == 7
    pace.row_s = 0.03
    budget = pace.budget(15, 128, 512)
    assert (budget.take(0, 100), budget.take(0, 100)) == (LEAST_ROWS, 0)


def test_rows_get_fewer_where_attention_looks_back_further() -> None:
    pace = warmed()
    run_prompt(pace, 15, 2000)
    assert pace.budget(15, 128, 512).take(2000, 2000) < 0.7 * pace.budget(15, 128, 512).take(0, 2000)


def test_one_stalled_step_does_not_widen_the_next() -> None:
    pace = warmed()
    before = pace.budget(15, 128, 512).seconds
    pace.seen(15, 0, 0, 3.0)
    assert pace.budget(15, 128, 512).seconds < 1.4 * before


def test_unknown_costs_mean_the_configured_rows() -> None:
    assert Pace().budget(8, 32, 512).take(0, 1000) == 24
    assert Pace().budget(0, 32, 512).take(0, 1000) == 512


def test_prompt_rows_too_cheap_to_measure_have_a_cost_all_the_same() -> None:
    """The step with a prompt took no longer than one without: a cost of 0 would divide by zero in the next plan."""
    pace = Pace()
    pace.seen(4, 0, 0, 0.05)
    pace.seen(4, 40, keys_before(0, 40), 0.05)
    assert pace.budget(4, 128, 512).take(0, 100) == 100
