"""`python -m trainer run --spec FILE`: events on stdout, log on stderr. Exit 0 finished, 3 cancelled, 1 failed."""

from __future__ import annotations

import argparse
import logging
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from trainer.data import encoder, read_rows
from trainer.errors import Stopped, TrainerError, as_trainer_error
from trainer.events import Cancelled, Emit, Event, Failed, event_line
from trainer.job import Job
from trainer.loop import train
from trainer.lora import new_lora
from trainer.model import Model, load_model
from trainer.spec import Spec, read_spec

FINISHED, FAILED, CANCELLED = 0, 1, 3

log = logging.getLogger("trainer")


class Interrupt:
    """Tells the loop to stop: after SIGTERM or SIGINT, or when nobody reads the events any more (the worker died)."""

    def __init__(self) -> None:
        self.asked = False
        self._reader = select.poll()
        self._reader.register(sys.stdout.fileno(), 0)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._ask)

    def _ask(self, _signal: int, _frame: object) -> None:
        self.asked = True

    def check(self) -> None:
        if self.asked:
            raise Stopped
        if any(state & (select.POLLERR | select.POLLNVAL) for _, state in self._reader.poll(0)):
            raise BrokenPipeError("nobody reads the events")


def emit(event: Event) -> None:
    sys.stdout.write(event_line(event) + "\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train what the spec file says")
    run.add_argument("--spec", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return run_spec(arguments.spec, emit, Interrupt())


def run_spec(path: Path, emit: Emit, interrupt: Interrupt) -> int:
    job: Job | None = None
    try:
        spec = read_spec(path)
        device = choose_device(spec.device)
        model, job = prepare(spec, device, emit, interrupt.check)
        train(model, job, emit, device, interrupt.check)
    except Stopped:
        emit(Cancelled(0, 0, 0.0) if job is None else Cancelled(job.step, job.tokens, job.position.seconds))
        return CANCELLED
    except BrokenPipeError:
        log.error("nobody reads the events: stopped; the next attempt goes on from the last checkpoint")
        return FAILED
    except Exception as error:
        log.exception("the job failed")
        failure = as_trainer_error(error)
        emit(Failed(failure.code, failure.message))
        return FAILED
    return FINISHED


def prepare(spec: Spec, device: torch.device, emit: Emit, check: Callable[[], None]) -> tuple[Model, Job]:
    model = load_model(spec.base_model.path, device, torch.float32)
    check()
    encode = encoder(spec.base_model.path, model.config, spec.prompt_format)
    rows = read_rows(spec.train_file, encode, spec.training.max_length, model.max_length)
    validation = None
    if spec.validation_file is not None:
        validation = read_rows(spec.validation_file, encode, rows.max_length, model.max_length)
    check()
    lora = new_lora(spec.adapter, model.config, spec.training.seed, device)
    job = Job(spec, rows, validation, lora, emit, time.monotonic)
    job.start(describe(device))
    return model, job


def choose_device(asked: str) -> torch.device:
    if asked == "cuda" and not torch.cuda.is_available():
        raise TrainerError("trainer_bad_spec", "device is cuda, and this machine has no CUDA device.")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


def describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
