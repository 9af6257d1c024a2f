"""Tensors of any strides against NumPy's copy of the same memory; run for each code path.

`python tests/python/strided_views.py` checks the path that TORCHNOTARY_CPU names, and prints which
it was, or that this machine lacks it.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from commitment_reference import dtype_name, random_bits, reference, reference_of
from torchnotary import NotaryError, _core, commit
from torchnotary.commitment import view

ORDINARY = sorted(
    {
        name
        for name, dtype in vars(torch).items()
        if isinstance(dtype, torch.dtype) and dtype_name(dtype) == name and "qui" not in name
    }
    - {"qint8", "qint32"}
)
NEGATED = (
    "float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2 int8 int16 int32 int64 uint8"
).split()
COMPLEX = ["complex32", "complex64", "complex128"]


def copied(memory: np.ndarray, itemsize: int, shape, strides, offset: int) -> bytes:
    """The elements in row-major order, by NumPy; strides and offset count elements."""
    scaled = tuple(stride * itemsize for stride in strides)
    at = offset * itemsize
    return np.ndarray(shape, f"V{itemsize}", memory, at, scaled).tobytes()


@st.composite
def placements(draw):
    """(dtype name, shape, strides, offset, elements of memory): inside the memory, of any sign,
    overlapping or with gaps."""
    shape = draw(st.lists(st.integers(0, 7), max_size=5))
    strides = [draw(st.integers(-9, 9)) for _ in shape]
    ends = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True) if size]
    before = -sum(end for end in ends if end < 0)
    after = sum(end for end in ends if end > 0)
    return draw(st.sampled_from(ORDINARY)), shape, strides, before, before + after + 1


@seed(1)
@given(placements(), st.integers(0, 1000))
@settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def any_placement(placement, number):
    name, shape, strides, offset, count = placement
    dtype = getattr(torch, name)
    memory = random_bits(dtype, (count,), number).view(torch.uint8).numpy()
    at = memory.ctypes.data + offset * dtype.itemsize
    shown = _core.View(at, name, tuple(shape), tuple(strides), owner=memory)
    data = copied(memory, dtype.itemsize, shape, strides, offset)
    assert shown.tobytes() == data
    assert shown.commit()[1].hex() == reference(name, tuple(shape), data)[0]
    if all(stride >= 0 for stride in strides):
        tensor = torch.from_numpy(memory).view(dtype).as_strided(shape, strides, offset)
        assert commit(tensor).digest == reference(name, tuple(shape), data)[0]


def sides_about_a_tile() -> None:
    """Transposes of matrices whose sides lie about the tiles' and the buffers' sizes."""
    for name in ("uint8", "int4", "bfloat16", "uint16", "float32", "int64", "complex64", "bool"):
        check_transposed(name, [(n, m) for n in (1, 7, 16, 33, 65) for m in (2, 15, 31, 64, 257)])
    for name in ("int8", "float16", "float32", "float64", "complex128"):
        check_transposed(name, [(1030, 517), (300, 2049)])


def check_transposed(name: str, sides) -> None:
    for rows, columns in sides:
        tensor = random_bits(getattr(torch, name), (rows, columns), rows)
        memory = tensor.view(-1).view(torch.uint8).numpy()
        data = copied(memory, tensor.element_size(), (columns, rows), (1, columns), 0)
        expected = reference(name, (columns, rows), data)[0]
        for threads in (1, 2):
            assert view(tensor.t()).commit(threads)[1].hex() == expected, (name, rows, columns)


def shapes_that_torch_makes() -> None:
    """Channels last, diagonals, windows, expanded and broadcast ones, at offsets, without rank."""
    for number, name in enumerate(ORDINARY):
        whole = random_bits(getattr(torch, name), (3, 5, 6, 7), number)
        square = whole[0, :, :, :5]
        for shown in (
            whole.permute(0, 2, 3, 1),
            whole[1:, ::2, 1:, ::3],
            whole.transpose(1, 3)[2],
            whole[:, 3].unfold(1, 3, 2),
            square.diagonal(dim1=0, dim2=2),
            whole[2, 1, 3].expand(4, 2, 7),
            whole[:1].expand(0, 5, 6, 7),
            whole[2, 4, 5, 6],
            whole[:, :0],
        ):
            offset = shown.storage_offset()
            memory = whole.view(-1).view(torch.uint8).numpy()
            data = copied(memory, whole.element_size(), shown.shape, shown.stride(), offset)
            assert commit(shown).digest == reference(name, tuple(shown.shape), data)[0], name
    images = torch.randn(2, 3, 17, 19).contiguous(memory_format=torch.channels_last)
    assert images.stride()[1] == 1
    data = images.numpy().tobytes()
    assert commit(images).digest == reference("float32", (2, 3, 17, 19), data)[0]


def conjugate_and_negative_views() -> None:
    for name in COMPLEX:
        tensor = random_bits(torch.uint8, (6, 7 * getattr(torch, name).itemsize), 3)
        tensor = tensor.view(getattr(torch, name)).t()
        for shown in (tensor.conj(), torch._neg_view(tensor), torch._neg_view(tensor.conj())):
            assert shown.is_conj() or shown.is_neg()
            assert commit(shown).digest == reference_of(shown), name
    for name in NEGATED:
        tensor = random_bits(getattr(torch, name), (6, 7), 4)
        for shown in (tensor, tensor.t(), tensor[:, ::2]):
            shown = torch._neg_view(shown)
            assert shown.is_neg() and commit(shown).digest == reference_of(shown), name


CHECKS = [
    any_placement,
    sides_about_a_tile,
    shapes_that_torch_makes,
    conjugate_and_negative_views,
]


def main() -> None:
    warnings.simplefilter("ignore")  # complex32 is experimental
    try:
        used = _core.cpu_path()
    except NotaryError as error:
        print("lacking", error.actual)
        return
    for check in CHECKS:
        check()
    print("used", used)


if __name__ == "__main__":
    sys.exit(main())
