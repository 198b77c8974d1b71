"""TRL in an environment of its own, on top of the packages that we have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PEER_ENV = Path(__file__).parents[1] / ".venv-training"
PEERS = ("trl==1.16.0", "datasets==5.2.0")


def peer_environment() -> None:
    if (PEER_ENV / "ready").exists():
        return
    print("installing TRL into packages/bench/.venv-training", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER_ENV)], check=True)
    packages = next((PEER_ENV / "lib").iterdir()) / "site-packages"
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "grove.pth").write_text(ours + "\n")
    subprocess.run([str(PEER_ENV / "bin/python"), "-m", "pip", "install", "--quiet", *PEERS], check=True)
    (PEER_ENV / "ready").touch()
