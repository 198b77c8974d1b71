"""What is done of the bench, in a JSON file that is replaced after each cell of the table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tasks import Task


class Cells:
    """The file: {"tasks": {task: {subject: {"training": {…}, "scores": [one a test row], "forced": [the same]}}},
    "group": {…}}."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"tasks": {}}
        if not isinstance(self._all.get("tasks"), dict):
            raise SystemExit(f"{path} is not a file of this bench: it has no tasks.")

    def training(self, task: str, subject: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._cell(task, subject).get("training")
        return found

    def scores(self, task: str, subject: str) -> list[float] | None:
        found: list[float] | None = self._cell(task, subject).get("scores")
        return found

    def forced(self, task: str, subject: str) -> list[float] | None:
        found: list[float] | None = self._cell(task, subject).get("forced")
        return found

    def is_scored(self, task: Task, subject: str) -> bool:
        chosen = task.metric != "accuracy" or self.forced(task.name, subject) is not None
        return chosen and self.scores(task.name, subject) is not None

    def trained(self, task: str, subject: str, training: dict[str, Any]) -> None:
        """A new training: scores of an earlier one are not its own."""
        self._all["tasks"].setdefault(task, {})[subject] = {"training": training}
        self._write()

    def scored(self, task: str, subject: str, scores: list[float], forced: list[float] | None) -> None:
        cell = self._all["tasks"].setdefault(task, {}).setdefault(subject, {})
        cell |= {"scores": scores} if forced is None else {"scores": scores, "forced": forced}
        self._write()

    def about(self) -> dict[str, Any]:
        """The machine and the day of the newest cells; those of each training say their commit."""
        found: dict[str, Any] = {key: self._all.get(key) for key in ("machine", "taken_at")}
        return found

    def taken(self, machine: dict[str, Any], at: str) -> None:
        self._all |= {"machine": machine, "taken_at": at}
        self._write()

    def group(self) -> dict[str, Any] | None:
        """What the group was measured to differ by from each task alone."""
        found: dict[str, Any] | None = self._all.get("group")
        return found

    def grouped(self, found: dict[str, Any]) -> None:
        self._all["group"] = found
        self._write()

    def _cell(self, task: str, subject: str) -> dict[str, Any]:
        cell: dict[str, Any] = self._all["tasks"].get(task, {}).get(subject, {})
        return cell

    def _write(self) -> None:
        """A line a cell: somebody reads the changes of the committed file."""
        tasks = [
            f'  "{task}": {{\n'
            + ",\n".join(f'   "{subject}": {json.dumps(cell)}' for subject, cell in subjects.items())
            + "\n  }"
            for task, subjects in self._all["tasks"].items()
        ]
        more = [f' "{key}": {json.dumps(value)}' for key, value in self._all.items() if key != "tasks"]
        whole = ",\n".join([' "tasks": {\n' + ",\n".join(tasks) + "\n }", *more])
        new = self._path.with_suffix(".new")
        new.write_text(f"{{\n{whole}\n}}\n", encoding="utf-8")
        os.replace(new, self._path)


def is_missing(cells: Cells, work: Path, task: Task, subject: str, kept: tuple[str, ...]) -> bool:
    """Whether a cell has to be trained (again): `kept` are subjects whose adapters are needed beside their scores."""
    if cells.training(task.name, subject) is None:
        return True
    needed = subject in kept or not cells.is_scored(task, subject)
    return needed and not (work / task.name / subject / "adapter_config.json").exists()
