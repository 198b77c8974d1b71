from __future__ import annotations

import os
import sys

from trainer.interrupt import Interrupt

if __name__ == "__main__":
    # Spinning threads are ruinous on shared cores; OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    interrupt = Interrupt()

    from trainer.cli import main

    sys.exit(main(sys.argv[1:], interrupt))
