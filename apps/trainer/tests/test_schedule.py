from __future__ import annotations

import dataclasses

import pytest
from trainer_support import MakeSpec

from trainer.schedule import every, learning_rate, progress, total_steps
from trainer.spec import TrainingSpec, parse_spec


@pytest.fixture
def training(make_spec: MakeSpec) -> TrainingSpec:
    return parse_spec(make_spec(epochs=2, batch_size=8, learning_rate=0.1, warmup_ratio=0.1)).training


def test_steps_follow_from_rows_epochs_and_their_limit(training: TrainingSpec) -> None:
    assert total_steps(training, 40) == 10
    assert total_steps(training, 41) == 12
    assert total_steps(dataclasses.replace(training, epochs=0.5), 40) == 3
    assert total_steps(dataclasses.replace(training, max_steps=4), 40) == 4
    assert total_steps(dataclasses.replace(training, epochs=0.001), 1) == 1


@pytest.mark.parametrize(
    ("scheduler", "half", "end"), [("cosine", 0.05, 0), ("linear", 0.05, 0), ("constant", 0.1, 0.1)]
)
def test_the_rate_rises_then_follows_its_schedule(
    training: TrainingSpec, scheduler: str, half: float, end: float
) -> None:
    settings = dataclasses.replace(training, scheduler=scheduler)  # type: ignore[arg-type]
    assert 0 < learning_rate(settings, 0.0, 100) < learning_rate(settings, 0.05, 100) < 0.1
    assert learning_rate(settings, 0.1, 100) == pytest.approx(0.1)
    assert learning_rate(settings, 0.55, 100) == pytest.approx(half)
    assert learning_rate(settings, 1.0, 100) == pytest.approx(end)


def test_with_a_time_budget_the_further_of_steps_and_seconds_counts(training: TrainingSpec) -> None:
    settings = dataclasses.replace(training, max_seconds=100)
    assert progress(settings, 10, 100, 50) == 0.5
    assert progress(settings, 80, 100, 50) == 0.8
    assert progress(settings, 10, 100, 500) == 1
    assert progress(training, 10, 100, 500) == 0.1


def test_zero_means_about_eight_times_a_run() -> None:
    assert (every(0, 80), every(0, 3), every(5, 80)) == (10, 1, 5)
