from __future__ import annotations

import os
import sys

from trainer.interrupt import Interrupt

if __name__ == "__main__":
    # Spinning threads are ruinous on shared cores; OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    interrupt = Interrupt()

    from trainer.cli import main

    status = main(sys.argv[1:], interrupt)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One run in twenty, gloo's C++ teardown aborts after Python is done: everything is written, so it is left out.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
