import os
import sys
from pathlib import Path

os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is first imported, by whichever test that is

sys.path.insert(0, str(Path(__file__).parents[1]))
