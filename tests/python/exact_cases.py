"""Operands of every layout and kind, and running an operator of torch beside the reference."""

import math

import numpy as np
import torch

from exact_reference import arithmetic
from exact_values import LEAST
from torchnotary.exact import exact_scope

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
SPECIAL = torch.tensor(
    [0.0, -0.0, LEAST, -LEAST, 1e-39, -3e-40, 2.0**-126, 1.0, -1.0, 0.5, -2.5, 3.5, 6.0, -3.0]
    + [20.0, 20.001, 88.8, -104.0, 1e5, -1e10, 3.4e38, -3.4e38, math.inf, -math.inf]
)
NAN_BITS = torch.tensor([0x7FC12345, 0xFFC00000 - 2**32, 0x7F800001], dtype=torch.int32)


def ordinary(*shape, dtype=torch.float32, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * scale).to(dtype)


def special(*shape, dtype=torch.float32, seed=0, share=1.0):
    """Ordinary numbers, a share of which is replaced by zeros, denormals, infinities and NaNs."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.cat([SPECIAL, NAN_BITS.view(torch.float32)])
    x = torch.randn(shape, generator=generator) * 3
    which = torch.rand(shape, generator=generator) < share / 2
    places = torch.randint(len(values), shape, generator=generator)
    return torch.where(which, values[places], x).to(dtype)


def numbers(*shape, dtype=torch.float32, seed=0, share=1.0):
    """As special, without NaNs and infinities."""
    x = special(*shape, dtype=dtype, seed=seed, share=share)
    return torch.where(x.isfinite(), x, torch.ones((), dtype=dtype))


LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "stepped": lambda x: torch.stack([x, x], -1).flatten(-2)[..., ::2],
    "offset": lambda x: torch.nn.functional.pad(x, (3, 2))[..., 3:-2],
    "zero-strided": lambda x: x[..., :1].expand_as(x),
}


def values(operand):
    """What the reference reads: binary32 values with their bits, integers and booleans as such."""
    if not isinstance(operand, torch.Tensor):
        return operand
    operand = operand.detach().contiguous()
    if operand.dtype not in FLOATS:
        return operand.numpy()
    if operand.dtype == torch.float32:
        return operand.numpy()
    storage = str(operand.dtype).removeprefix("torch.")
    return arithmetic.loaded(operand.view(torch.uint16).numpy(), storage)


def same_bits(ours, expected):
    ours = ours if isinstance(ours, (tuple, list)) else (ours,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(ours) == len(expected)
    for our, result in zip(ours, expected, strict=True):
        assert tuple(our.shape) == np.shape(result)
        if our.dtype not in FLOATS:
            assert our.tolist() == np.asarray(result).tolist()
            continue
        storage = str(our.dtype).removeprefix("torch.")
        unsigned = torch.uint32 if storage == "float32" else torch.uint16
        found = our.contiguous().view(unsigned).numpy()
        wanted = arithmetic.stored(result, storage)
        wrong = np.argwhere(found != wanted)
        assert len(wrong) == 0, (
            f"{len(wrong)} of {found.size} differ, first at {wrong[0].tolist()}: "
            f"got {found[tuple(wrong[0])]:x}, expected {wanted[tuple(wrong[0])]:x}"
        )


def check(operator, reference, *operands, dtype=None):
    """The operator under exact/1 gives the reference's bits, of dtype where one is given."""
    with torch.no_grad(), exact_scope():
        ours = operator(*operands)
    first = ours[0] if isinstance(ours, (tuple, list)) else ours
    assert dtype is None or first.dtype == dtype
    same_bits(ours, reference(*map(values, operands)))
