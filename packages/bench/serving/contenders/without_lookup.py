"""`python -m serving` with prompt lookup switched off, since the peers run without their own kind of it."""

from __future__ import annotations

import functools
import sys

from serving.__main__ import main
from serving.server import start

if __name__ == "__main__":
    start.EngineLimits = functools.partial(start.EngineLimits, drafts=False)  # type: ignore[misc, assignment]
    sys.exit(main())
