"""What a base model is: its weights."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from lora_py.base_model import open_folder


@lru_cache
def base_sha256(path: Path) -> str:
    """Over the bytes of the base's weight files, in the order of their names."""
    digest = hashlib.sha256()
    for name in open_folder(path).weight_files:
        with name.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
