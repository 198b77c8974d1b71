"""`python -m serving --model PATH --port N`."""

from __future__ import annotations

import os

# Idle OpenMP threads must sleep: spinning ones starve the event loop and every other process of the machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import asyncio
import sys

from serving.models.config import ModelError
from serving.server.logs import set_up_logs
from serving.server.settings import read_settings
from serving.server.start import serve


def main() -> int:
    settings = read_settings(sys.argv[1:])
    set_up_logs(settings.log_level, settings.log_format)
    try:
        return asyncio.run(serve(settings))
    except ModelError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
