"""Native kernels: one C++ library, compiled on the machine that runs it, opened by ctypes.

`load_library()` returns None where there is no compiler; callers then use the plain torch twin.
"""

from lora_py.kernels.build import load_library, name_of

__all__ = ["load_library", "name_of"]
