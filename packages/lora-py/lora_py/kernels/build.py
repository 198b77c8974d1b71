"""Compiles the kernels once for this processor and keeps the result under a key of sources, flags and processor."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

log = logging.getLogger("lora_py.kernels")
SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O3", "-std=c++17", "-fno-math-errno", "-Wno-psabi", "-shared", "-fPIC", "-pthread")
COMPILE_TIMEOUT_S = 180


def flags() -> list[str]:
    """GROVE_KERNEL_ARCH, such as "-mavx2 -mfma -mf16c", builds for less than this processor can do."""
    return [*FLAGS, *os.environ.get("GROVE_KERNEL_ARCH", "-march=native").split()]


def compiler() -> str | None:
    wanted = os.environ.get("CXX")
    return next((found for name in (wanted, "g++", "clang++", "c++") if name and (found := shutil.which(name))), None)


def _processor() -> str:
    """The instruction sets that -march=native will use: a cache folder may move to another machine."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = {line for line in text.splitlines() if line.split(":")[0].strip() in wanted}
    return "\n".join(sorted(lines))


def library_path(cxx: str) -> Path:
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    for part in (*flags(), cxx, _processor()):
        digest.update(part.encode() + b"\0")
    root = os.environ.get("GROVE_KERNEL_CACHE") or str(Path.home() / ".cache" / "grove-kernels")
    return Path(root) / f"grove-{digest.hexdigest()[:24]}.so"


def build() -> Path | None:
    """The compiled library, from the cache or made now; None (with the reason logged) where it can't be had."""
    cxx = compiler()
    if cxx is None:
        log.warning("no C++ compiler found: the slower torch kernels are used (install g++ for the native ones)")
        return None
    target = library_path(cxx)
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            command = [cxx, *flags(), str(SOURCES / "forward.cpp"), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_TIMEOUT_S)
            made.rename(target)
    except subprocess.CalledProcessError as error:
        log.warning("the native kernels did not compile: %s", error.stderr.decode(errors="replace")[-2000:])
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("the native kernels could not be built: %s", error)
        return None
    return target


def name_of(library: ctypes.CDLL) -> str:
    """Other sources, flags, compilers and processors have other names, and perhaps other last bits."""
    return Path(library._name).stem.removeprefix("grove-")[:12]


@functools.cache
def load_library() -> ctypes.CDLL | None:
    path = build()
    if path is None:
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        log.warning("the native kernels could not be opened: %s", error)
        return None
