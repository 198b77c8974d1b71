"""What a PEFT folder holds, told in one JSON line: whether it may be served over this base, and as what.

    python -m lora_py.describe --adapter FOLDER --base FOLDER

A folder that is refused gives `{"error": {"code", "message"}}` and exit status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lora_py.peft_config import json_object
from lora_py.peft_files import CONFIG_FILE, CONFIG_LIMIT, GROVE_FILE, check_against_base, read_adapter
from lora_py.peft_weights import AdapterError, parted_names

TEMPLATE_LIMIT = 20_000  # characters, as everywhere in Grove


def describe(adapter_folder: Path, base_folder: Path, max_bytes: int | None = None) -> dict[str, Any]:
    """Raises AdapterError where it would not be served: pickles, unknown methods, modules that the base has not."""
    adapter = read_adapter(adapter_folder, max_bytes=max_bytes)
    base_config = json.loads((base_folder / "config.json").read_text(encoding="utf-8"))
    check_against_base(adapter, base_config)
    raw = json_object((adapter_folder / CONFIG_FILE).read_bytes(), CONFIG_FILE)
    dropout = raw.get("lora_dropout", 0.0)
    return {
        "sha256": adapter.sha256,
        "bytes": adapter.bytes,
        "rank": adapter.config.rank,
        "alpha": adapter.config.alpha,
        "dropout": float(dropout) if isinstance(dropout, (int, float)) and 0 <= dropout < 1 else 0.0,
        "use_rslora": adapter.config.use_rslora,
        "target_modules": list(parted_names(adapter.config.target_modules)),
        "prompt_format": adapter.config.prompt_format,
        "base_model": adapter.config.base_model,
        "prompt_template": _prompt_template(adapter_folder),
    }


def _prompt_template(folder: Path) -> str | None:
    path = folder / GROVE_FILE
    if not path.is_file() or path.stat().st_size > CONFIG_LIMIT:
        return None
    template = json_object(path.read_bytes(), GROVE_FILE).get("prompt_template")
    return template if isinstance(template, str) and 0 < len(template) <= TEMPLATE_LIMIT else None


def refusal(code: str, message: str) -> str:
    return json.dumps({"error": {"code": code, "message": message}})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lora_py.describe", description=__doc__)
    parser.add_argument("--adapter", type=Path, required=True, help="a PEFT adapter folder")
    parser.add_argument("--base", type=Path, required=True, help="folder with the base model's config.json")
    arguments = parser.parse_args(argv)
    try:
        about = describe(arguments.adapter, arguments.base)
    except (AdapterError, OSError, ValueError) as error:
        print(refusal("adapter_invalid", str(error)))
        return 1
    print(json.dumps(about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
