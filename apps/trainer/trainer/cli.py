"""`python -m trainer run --spec FILE`: events on stdout, log on stderr. `quote` says what the job will take.

Exit status of a single job: 0 finished, 3 cancelled, 1 failed. Of a group: 0 when every job's own last event was sent.
Commands on stdin, one JSON object a line: {"cancel": JOB_ID}, {"pause": JOB_ID}, {"resume": JOB_ID},
{"finish": JOB_ID, "step": N}, and for a group {"join": SPEC}.
"""

from __future__ import annotations

import argparse
import json
import logging
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from lora_py.peft_files import adapter_sha256

from trainer.errors import TrainerError, as_trainer_error
from trainer.events import Cancelled, Emit, Event, Failed, event_line, group_line
from trainer.interrupt import Interrupt, Stopped
from trainer.loop import Group
from trainer.quote import make_quote, quote_line
from trainer.replay import hardware_warnings, plan, take_threads
from trainer.save import hardware
from trainer.session import Precision, Session, read_request
from trainer.spec import parse_spec
from trainer.team import PeerLost, Team, make_team, processes

FINISHED, FAILED, CANCELLED = 0, 1, 3
STATUS = {"finished": FINISHED, "failed": FAILED, "cancelled": CANCELLED}

log = logging.getLogger("trainer")


class Commands:
    """Lines on stdin, read by a thread of their own and obeyed between two rounds: the first process's by all."""

    def __init__(self, session: Session, grouped: bool, team: Team) -> None:
        self._session, self._grouped, self._team = session, grouped, team
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        if team.leads:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)

    def obey(self, group: Group) -> None:
        waiting = []
        while not self._lines.empty():
            waiting.append(self._lines.get())
        for line in self._team.told(waiting):
            try:
                command: Any = json.loads(line)
            except ValueError:
                command = None
            match command:
                case {"join": spec, **rest} if not rest and self._grouped:
                    self._session.add(spec)
                case {"cancel": str(job_id), **rest} if not rest:
                    group.cancel(job_id)
                case {"pause": str(job_id), **rest} if not rest:
                    group.pause(job_id)
                case {"resume": str(job_id), **rest} if not rest:
                    group.resume(job_id)
                case {"finish": str(job_id), "step": int(step), **rest} if not rest:
                    group.finish(job_id, step)
                case _:
                    log.error("not a command: %s", line[:200])


def emit(event: Event) -> None:
    _write(event_line(event))


def emit_for(job_id: str) -> Emit:
    return lambda event: _write(group_line(job_id, event))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(argv: list[str], interrupt: Interrupt) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train what the spec file says")
    quote = commands.add_parser("quote", help="say what the job of a spec file will take, without running it")
    for command in (run, quote):
        command.add_argument("--spec", type=Path, required=True)
        command.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of the base")
    again = commands.add_parser("replay", help="run a finished job again from its manifest, and compare the adapters")
    again.add_argument("--manifest", type=Path, required=True, help="the adapter's grove.json")
    again.add_argument("--train-file", type=Path, required=True)
    again.add_argument("--validation-file", type=Path)
    again.add_argument("--init-adapter", type=Path, help="the adapter that the run went on from")
    again.add_argument("--base-model", type=Path, required=True)
    again.add_argument("--output-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.command != "run" and processes() > 1:
        parser.error(f"{arguments.command} takes one process: start it without torchrun")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if arguments.command == "replay":
            return replay_run(arguments, interrupt)
        act = run_file if arguments.command == "run" else quote_file
        return act(arguments.spec, arguments.precision, interrupt)
    except BrokenPipeError:
        log.error("nobody reads the events: stopped; the next attempt goes on from the last checkpoint")
        return FAILED


def run_file(path: Path, precision: Precision, interrupt: Interrupt) -> int:
    team = make_team()
    say = emit if team.leads else lambda _: None
    try:
        request = read_request(path)
    except TrainerError as error:
        say(Failed(error.code, error.message))
        return FAILED
    session = Session(emit_for if request.grouped else lambda _: emit, interrupt.check, precision, team)
    try:
        for raw in request.raw:
            session.add(raw)
    except Stopped:
        if session.group is not None:
            for job in list(session.group.jobs):
                session.group.cancel(job.spec.job_id)
        if not request.grouped:
            say(Cancelled(0, 0, 0.0))
        return CANCELLED
    except PeerLost as error:
        if session.group is not None:
            session.group.fail_all(error)
        return FAILED
    if session.group is None:
        return FAILED
    session.group.run(Commands(session, request.grouped, team).obey)
    if request.grouped:
        return FINISHED
    return max((STATUS[outcome] for outcome in session.group.outcomes.values()), default=FAILED)


def replay_run(asked: argparse.Namespace, interrupt: Interrupt) -> int:
    """Events of the run, then one line, `{"replay": {"sha256", "expected", "same", "warnings"}}`."""
    try:
        data, start = (asked.train_file, asked.validation_file), asked.init_adapter
        found = plan(asked.manifest, *data, asked.base_model, asked.output_dir, start)
    except TrainerError as error:
        emit(Failed(error.code, error.message))
        return FAILED
    take_threads(found.hardware)
    precision: Precision = "bf16" if "bf16" in str(found.hardware.get("device")) else "fp32"
    session = Session(lambda _: emit, interrupt.check, precision)
    session.add(found.spec)
    if session.group is None or not session.group.jobs:
        return FAILED
    job = session.group.jobs[0]
    session.group.run(found.before_round)
    status = max((STATUS[outcome] for outcome in session.group.outcomes.values()), default=FAILED)
    if status == FINISHED:
        sha256 = adapter_sha256(asked.output_dir)
        warnings = [*found.warnings, *hardware_warnings(found.hardware, hardware(job))]
        result = {"sha256": sha256, "expected": found.expected, "same": sha256 == found.expected, "warnings": warnings}
        _write(json.dumps({"replay": result}))
    return status


def quote_file(path: Path, precision: Precision, interrupt: Interrupt) -> int:
    """One line, `{"quote": …}`, or a `failed` event."""
    try:
        request = read_request(path)
        if request.grouped:
            raise TrainerError("trainer_bad_spec", "A quote is for one job.")
        session = Session(lambda _: emit, interrupt.check, precision)
        _, job, model, device = session.ready(parse_spec(request.raw[0]), emit)
        _write(quote_line(make_quote(model, job, device, session.free, interrupt.check)))
    except Stopped:
        return CANCELLED
    except BrokenPipeError:
        raise
    except Exception as error:
        log.exception("no quote")
        failure = as_trainer_error(error)
        emit(Failed(failure.code, failure.message))
        return FAILED
    return FINISHED
