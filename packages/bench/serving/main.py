"""`pnpm bench serving [--quick] [--rounds N] [--threads N] [--json FILE] [--only ROW,…]`: our server against HF PEFT,
llama.cpp and vLLM on this machine, and against its own promises. README.md says how each row is measured."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from figures import Figure, missing
from machine import describe
from race import ContenderFailed
from report import write_readme
from rows import answers, latency, lookup, peers, resident
from stage import ROOT, Stage

SINGLE_ROWS: dict[str, Callable[[Stage], Figure]] = {
    "long-prompt": latency.long_prompt,
    "prompt-lookup": lookup.lookup,
    "resident": resident.resident,
    "zipf": resident.zipf,
    "cold": latency.cold,
    "deterministic": answers.deterministic,
    "quality": answers.quality,
}
ROW_NAMES = (*peers.ROWS, *SINGLE_ROWS)


def measure(stage: Stage, rows: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    racing = [row for row in peers.ROWS if row in rows]
    if racing:
        figures += peers.measure(stage, racing)
    for row, run in SINGLE_ROWS.items():
        if row in rows:
            stage.say(row)
            try:
                figures.append(run(stage))
            except ContenderFailed as error:
                figures.append(missing(row, run.__name__, "-", str(error)))
            stage.say(figures[-1].line())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="pnpm bench serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds and fewer requests: under 8 minutes")
    parser.add_argument("--rounds", type=int, help="turns of each contender in each case (5; 2 with --quick)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each contender")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--readme", action="store_true", help="put the table into this folder's README.md")
    parser.add_argument("--only", help=f"some of the rows: {', '.join(ROW_NAMES)}")
    parser.add_argument("--seed", type=int, default=1, help="of the prompts")
    args = parser.parse_args()
    rows = args.only.split(",") if args.only else list(ROW_NAMES)
    unknown = [row for row in rows if row not in ROW_NAMES]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROW_NAMES)}")
    # stopped contenders would outlive a benchmark that is told to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    began, load = time.time(), os.getloadavg()
    stage = Stage(args.threads, args.rounds or (2 if args.quick else 5), args.quick, args.seed)
    try:
        figures = measure(stage, rows)
    finally:
        stage.close()
    result = {
        "machine": describe(ROOT, args.threads),
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "load_before": load,
        "load_after": os.getloadavg(),
        "rounds": stage.rounds,
        "quick": args.quick,
        "rows": [figure.json() for figure in figures],
    }
    for figure in figures:
        print(figure.line())
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    if args.readme:
        write_readme(Path(__file__).parent / "README.md", result, figures)


if __name__ == "__main__":
    main()
