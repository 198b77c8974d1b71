"""`python -m lora_py.kernels`: builds the kernels now, so that the first server start need not."""

from __future__ import annotations

import sys

from lora_py.kernels.build import build

if __name__ == "__main__":
    path = build()
    print(path if path is not None else "no native kernels; the torch ones will be used")
    sys.exit(0)
