from __future__ import annotations

import dataclasses
import json
import typing

from trainer_support import ROOT

from trainer import events

FIXTURE = ROOT / "packages/contracts/fixtures/trainer-events.jsonl"
KINDS = {kind.event: kind for kind in typing.get_args(events.Event)}


def test_every_kind_of_event_is_in_the_golden_file_and_comes_back_as_it_stands() -> None:
    lines = [json.loads(line) for line in FIXTURE.read_text().splitlines()]
    assert {line["event"] for line in lines} == set(KINDS)
    for line in lines:
        fields = {name: value for name, value in line.items() if name != "event"}
        kind = KINDS[line["event"]]
        assert [field.name for field in dataclasses.fields(kind)] == list(fields)
        assert json.loads(events.event_line(kind(**fields))) == line


def test_a_tiny_learning_rate_is_not_rounded_away() -> None:
    step = events.StepDone(1, 2, 0.5, 1.0, 1e-8, 1, 1.0, 1.0, 1.0)
    assert json.loads(events.event_line(step))["learning_rate"] == 1e-8
