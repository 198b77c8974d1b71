"""The conversation of a contender with the benchmark: it prints "ready", then answers one JSON task a line.

A task is {"ids", "texts", "adapters", "in_flight", "new_tokens"}: prompts twice (token ids and their text), the number
of each one's adapter (-1: none), how many to have under way at once, and how many tokens to make for each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Task = dict[str, Any]
Answers = list[list[int]]  # the tokens of each prompt, or as many zeros where a contender tells only their number


def serve(turn: Callable[[Task], Answers | dict[str, Any]]) -> None:
    """Libraries print to stdout as they like, so the conversation keeps a copy of it for itself."""
    mine = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=mine, flush=True)
    for line in sys.stdin:
        task: Task = json.loads(line)
        began = time.perf_counter()
        made = turn(task)
        wall = time.perf_counter() - began
        told = {"answers": made, "tokens": sum(map(len, made))} if isinstance(made, list) else made
        print(json.dumps({"wall": wall, **told}), file=mine, flush=True)
