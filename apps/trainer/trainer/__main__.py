from __future__ import annotations

import os
import sys

# Spinning threads are ruinous on shared cores; OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from trainer.cli import main

sys.exit(main())
