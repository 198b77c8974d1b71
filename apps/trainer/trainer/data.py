"""A file of rows as token rows of bounded length, with what was cut and left out told."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_py.chat_template import ChatTemplateError

from trainer.encode import Encoder
from trainer.errors import TrainerError
from trainer.packing import Example
from trainer.rows import Completion, DataKind, Row, bad_data, parse_lines

TEXT_WINDOW = 1024  # tokens a piece of text has at most where no max_length is asked
LABELS = 32  # a file with more different answers is not a choice among labels
LABEL_LENGTH = 64  # characters
BINS = 10


@dataclass(frozen=True, slots=True)
class Rows:
    kind: DataKind
    examples: tuple[Example, ...]
    max_length: int
    cut: int  # rows that lost a part of their prompt or oldest turns to fit; texts that were split
    dropped: int  # rows with nothing to learn, or with an answer that does not fit
    sha256: str  # of the file
    labels: Mapping[str, int] | None  # how often each answer occurs, where they are few

    @property
    def tokens(self) -> int:
        return sum(example.length for example in self.examples)

    def histogram(self) -> list[list[int]]:
        """[longest length in tokens, rows] of up to ten bins of equal width."""
        lengths = [example.longest for example in self.examples]
        width = max(1, math.ceil(max(lengths) / BINS))
        counts = Counter((length - 1) // width for length in lengths)
        return [[(at + 1) * width, counts[at]] for at in range(max(counts) + 1)]


def read_rows(
    path: Path,
    encode: Encoder,
    max_length: int | None,
    longest: int,
    check: Callable[[], None] = lambda: None,
    kind: DataKind | None = None,
) -> Rows:
    """`max_length` None: the 95th percentile of the rows' lengths. `longest` is the base's own limit. `kind` None: as
    the first row has it."""
    digest = hashlib.sha256()
    rows: list[tuple[Row, Example]] = []
    labels = Labels()
    empty = 0
    for number, found, row in parse_lines(path, digest, kind):
        check()
        if kind is None or not rows:
            _refuse(encode, found)
        kind = found
        example = _encode(encode, row, f"{path.name}, line {number}")
        if example is None:
            empty += 1
        else:
            rows.append((row, example))
            labels.see(row)
    if kind is None or not rows:
        reason = f"all {empty} rows have an empty answer" if empty else "there are no rows"
        raise bad_data(f"{path.name} has nothing to train on: {reason}.")
    limit = min(max_length or _usual(kind, [example.longest for _, example in rows]), longest)
    fitted = [encode.fit(row, example, limit) for row, example in rows]
    kept = tuple(example for parts in fitted for example in parts)
    if not kept:
        raise bad_data(f"No row of {path.name} fits into {limit} tokens: raise max_length.")
    cut = sum(bool(parts) and parts != [example] for (_, example), parts in zip(rows, fitted, strict=True))
    dropped = empty + sum(not parts for parts in fitted)
    return Rows(kind, kept, limit, cut, dropped, digest.hexdigest(), labels.counts())


class Labels:
    """Counts the answers until there are too many different ones, or one is too long to be a label."""

    def __init__(self) -> None:
        self._counts: Counter[str] | None = Counter()

    def see(self, row: Row) -> None:
        if self._counts is None or not isinstance(row, Completion) or len(row.completion) > LABEL_LENGTH:
            self._counts = None
            return
        self._counts[row.completion.strip()] += 1
        if len(self._counts) > LABELS:
            self._counts = None

    def counts(self) -> dict[str, int] | None:
        return None if self._counts is None else dict(self._counts.most_common())


def percentile(values: list[int], share: float) -> int:
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _usual(kind: DataKind, lengths: list[int]) -> int:
    usual = percentile(lengths, 0.95)
    return min(usual, TEXT_WINDOW) if kind == "text" else usual


def _refuse(encode: Encoder, kind: DataKind) -> None:
    reason = encode.refusal(kind)
    if reason is not None:
        raise TrainerError("trainer_bad_spec", reason)


def _encode(encode: Encoder, row: Row, where: str) -> Example | None:
    try:
        return encode.encode(row)
    except ChatTemplateError as error:
        raise bad_data(f"{where}: {error}") from error
