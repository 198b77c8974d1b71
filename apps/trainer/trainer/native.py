"""The native kernels of a training step (`lora_py/kernels/native/training.h`), where tensors can go through them:
float32 on the CPU, with a compiler at hand. Elsewhere `trainer.layers` and `trainer.lora_linear` do the same in torch.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import torch
from lora_py.byte_lora import MAX_RANK
from lora_py.kernels import load_library, name_of
from torch import Tensor

_FLOAT, _INT = ctypes.c_float, ctypes.c_int
_ADDRESS = ctypes.c_void_p
_SIGNATURES = {
    "grove_rms_norm": (_ADDRESS, _ADDRESS, _FLOAT, _ADDRESS, _ADDRESS, _INT, _INT, _INT),
    "grove_rms_norm_back": (_ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS, _ADDRESS, _INT, _INT, _INT),
    "grove_swiglu": (_ADDRESS, _ADDRESS, _INT, _INT, _INT),
    "grove_swiglu_back": (_ADDRESS, _ADDRESS, _ADDRESS, _INT, _INT, _INT),
    "grove_rotary": (_ADDRESS,) * 6 + (_INT,) * 5,
    "grove_rotary_back": (_ADDRESS,) * 6 + (_INT,) * 5,
    "grove_product_fits": (_INT, _INT),
    "grove_product": (_ADDRESS, _INT, _INT, _INT, _ADDRESS, _INT, _ADDRESS, _INT),
    "grove_product_back": (_ADDRESS, _INT, _INT, _INT, _ADDRESS, _INT, _ADDRESS, _INT),
    "grove_cross_entropy": (_ADDRESS, _ADDRESS, _ADDRESS, _INT, _ADDRESS, _INT, _INT, _INT),
    "grove_lora_forward": (_ADDRESS, _ADDRESS, _INT, _ADDRESS, _INT, _ADDRESS, _INT),
    "grove_lora_backward": (_ADDRESS, _ADDRESS, _INT, _ADDRESS, _ADDRESS, _INT, _ADDRESS, _INT),
}


class _Parts(ctypes.Structure):
    """`LoraParts` of training.h"""

    _fields_ = (
        ("count", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("inputs", ctypes.c_int32),
        ("scaling", ctypes.c_float),
        *((name, _ADDRESS) for name in ("a", "b", "da", "db", "begins", "outs")),
    )


@functools.cache
def _library() -> ctypes.CDLL | None:
    library = load_library()
    for name, types in _SIGNATURES.items() if library is not None else ():
        function = getattr(library, name)
        function.argtypes, function.restype = types, _INT if name == "grove_product_fits" else None
    return library


def fits(*tensors: Tensor) -> bool:
    """Whether the functions below take these."""
    plain = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors)
    return plain and _library() is not None


def name(*tensors: Tensor) -> str:
    """What these are computed with, for a manifest."""
    library = _library()
    return "torch" if library is None or not fits(*tensors) else f"native {name_of(library)}"


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x: [..., width] -> x / rms(x) * weight, and 1 / rms(x) [..., 1]"""
    x = x.contiguous()
    out, rstd = torch.empty_like(x), x.new_empty((*x.shape[:-1], 1))
    _call("grove_rms_norm", x, weight.contiguous(), eps, out, rstd, rstd.numel(), x.shape[-1])
    return out, rstd


def rms_norm_back(dy: Tensor, x: Tensor, weight: Tensor, rstd: Tensor) -> Tensor:
    dy, x = dy.contiguous(), x.contiguous()
    dx = torch.empty_like(x)
    _call("grove_rms_norm_back", dy, x, weight.contiguous(), rstd, dx, rstd.numel(), x.shape[-1])
    return dx


def swiglu(both: Tensor) -> Tensor:
    """both: [rows, 2 * width] -> silu(first half) * second half"""
    both = both.contiguous()
    rows, width = both.shape[0], both.shape[1] // 2
    out = both.new_empty(rows, width)
    _call("grove_swiglu", both, out, rows, width)
    return out


def swiglu_back(dy: Tensor, both: Tensor) -> Tensor:
    dy, both = dy.contiguous(), both.contiguous()
    out = torch.empty_like(both)
    _call("grove_swiglu_back", dy, both, out, both.shape[0], both.shape[1] // 2)
    return out


def rotary(heads: Tensor, cos: Tensor, sin: Tensor, q_heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """heads: [rows, q_heads + 2 * kv_heads, dim]; cos, sin: dim / 2 a row -> q, k, v"""
    heads, cos, sin = heads.contiguous(), cos.contiguous(), sin.contiguous()
    rows, _, dim = heads.shape
    q, k, v = (heads.new_empty(rows, count, dim) for count in (q_heads, kv_heads, kv_heads))
    _call("grove_rotary", heads, cos, sin, q, k, v, rows, q_heads, kv_heads, dim // 2)
    return q, k, v


def rotary_back(dq: Tensor, dk: Tensor, dv: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rows, q_heads, dim = dq.shape
    kv_heads = dk.shape[1]
    dq, dk, dv, cos, sin = (x.contiguous() for x in (dq, dk, dv, cos, sin))
    heads = dq.new_empty(rows, q_heads + 2 * kv_heads, dim)
    _call("grove_rotary_back", dq, dk, dv, cos, sin, heads, rows, q_heads, kv_heads, dim // 2)
    return heads


def multiplies(x: Tensor, weight: Tensor) -> bool:
    """Whether `product` and `product_back` take these; bf16 weights where the processor has matrix tiles for them."""
    if not fits(x) or weight.device.type != "cpu" or not weight.is_contiguous():
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and _tiles(*weight.shape))


@functools.cache
def _tiles(out: int, inputs: int) -> bool:
    library = _library()
    return library is not None and bool(library.grove_product_fits(out, inputs))


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x: [rows, in], weight: [out, in] -> x @ weight^T. A row's result does not depend on the other rows."""
    x, (out, inputs) = x.contiguous(), weight.shape
    y = x.new_empty(x.shape[0], out)
    _call("grove_product", weight, weight.dtype == torch.bfloat16, out, inputs, x, x.shape[0], y)
    return y


def product_back(dy: Tensor, weight: Tensor) -> Tensor:
    """dy: [rows, out], weight: [out, in] -> dy @ weight. A row's result does not depend on the other rows."""
    dy, (out, inputs) = dy.contiguous(), weight.shape
    dx = dy.new_empty(dy.shape[0], inputs)
    _call("grove_product_back", weight, weight.dtype == torch.bfloat16, out, inputs, dy, dy.shape[0], dx)
    return dx


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, losses: Tensor, slope: bool) -> None:
    """logits: [rows, vocabulary]; writes each row's loss times its weight, and with `slope` puts the slopes of those in
    the place of the logits. All contiguous."""
    rows, vocabulary = logits.shape
    _call("grove_cross_entropy", logits, targets, weights, slope, losses, rows, vocabulary)


class Adapters:
    """One job's A and B of the modules in a fused linear, as the kernels read them and add to their gradients. The
    tensors, gradients among them, must stay where they are."""

    def __init__(self, pairs: Sequence[tuple[Tensor, Tensor]], begins: Sequence[int], scaling: float) -> None:
        count = len(pairs)
        self.width = count * pairs[0][0].shape[0]  # of the hidden rows
        grads = [[x.grad for x in side] for side in zip(*pairs, strict=True)]
        columns = [*zip(*pairs, strict=True), *grads]
        addresses = [(_ADDRESS * count)(*(x.data_ptr() for x in side if x is not None)) for side in columns]
        places = [(ctypes.c_int32 * count)(*begins), (ctypes.c_int32 * count)(*(b.shape[0] for _, b in pairs))]
        self._kept = (columns, addresses, places)
        at = [*map(ctypes.addressof, addresses), *map(ctypes.addressof, places)]
        self._parts = _Parts(count, *pairs[0][0].shape, scaling, *at)

    @staticmethod
    def fit(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
        tensors = [x for pair in pairs for x in pair]
        ranks = {a.shape[0] for a, _ in pairs}
        ready = all(x.grad is not None and x.is_contiguous() for x in tensors)
        return len(ranks) == 1 and max(ranks) <= MAX_RANK and ready and fits(*tensors)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x: [rows, in]; adds to y [rows, out] in place -> what B is applied to, [rows, width]. Both contiguous."""
        hidden = x.new_empty(x.shape[0], self.width)
        _call("grove_lora_forward", ctypes.addressof(self._parts), x, x.shape[0], y, y.shape[1], hidden)
        return hidden

    def back(self, dy: Tensor, x: Tensor, hidden: Tensor, dx: Tensor | None) -> None:
        """Adds to the gradients of A and B and to dx [rows, in]. All contiguous."""
        out = 0 if dx is None else dx
        _call("grove_lora_backward", ctypes.addressof(self._parts), dy, dy.shape[1], x, hidden, x.shape[0], out)


def _call(name: str, *arguments: Tensor | float) -> None:
    """Tensors go as their addresses; all that are given live until the call is over."""
    plain = (one.data_ptr() if isinstance(one, Tensor) else one for one in arguments)
    getattr(_library(), name)(*plain, torch.get_num_threads())
