"""Ordinary tensors built to collide: dtypes, shapes, strides, bits and headers of one another.

Each kind draws a pair, and makes some of its pairs equal where its trick has a harmless form.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from collision_items import Item, Pair, Random, bits, choice, content_of, item, raw, shape_of
from commitment_reference import dtype_name, torch_bytes
from torchnotary import _core, commit
from torchnotary.commitment import view

ORDINARY = [
    getattr(torch, name)
    for name in "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 "
    "uint64 bool complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 int1 int4 uint1 uint4".split()
]


def the_same_bytes_as_another_dtype(rng: Random) -> Pair:
    data = bits(rng, torch.uint8, (16 * int(rng.integers(1, 5)),)) & 1  # valid as bool too
    first, second = choice(rng, ORDINARY), choice(rng, ORDINARY)
    return item(data.view(first)), item(data.view(second))


def the_same_bytes_in_another_shape(rng: Random) -> Pair:
    shape = shape_of(rng)
    tensor = bits(rng, choice(rng, ORDINARY), shape)
    others = [tuple(rng.permutation(shape).tolist()), (*shape, 1), (1, *shape), (math.prod(shape),)]
    return item(tensor), item(tensor.reshape(choice(rng, others)))


def empty_tensors_of_other_sizes(rng: Random) -> Pair:
    shapes = [(0, *rng.integers(0, 2, int(rng.integers(3)))) for _ in range(2)]
    first, second = (tuple(rng.permutation(shape).tolist()) for shape in shapes)
    dtype = choice(rng, ORDINARY)
    return item(torch.empty(first, dtype=dtype)), item(torch.empty(second, dtype=dtype))


def _look(rng: Random, tensor: torch.Tensor) -> torch.Tensor:
    for dim, size in enumerate(tensor.shape):
        start, step = int(rng.integers(size + 1)), int(rng.integers(1, 3))
        tensor = tensor[(slice(None),) * dim + (slice(start, None, step),)]
    tensor = tensor.permute(rng.permutation(tensor.dim()).tolist())
    return tensor.unsqueeze(0).expand(2, *tensor.shape) if rng.integers(4) == 0 else tensor


def two_views_of_one_memory(rng: Random) -> Pair:
    memory = bits(rng, choice(rng, ORDINARY), shape_of(rng, 3, 1))
    return item(_look(rng, memory)), item(_look(rng, memory))


def windows_over_a_repeating_memory(rng: Random) -> Pair:
    period = bits(rng, choice(rng, ORDINARY), (int(rng.integers(1, 4)),))
    memory = period.view(torch.uint8).repeat(40).view(period.dtype)
    windows = []
    for _ in range(2):
        strides, start = rng.integers(0, 4, 2).tolist(), int(rng.integers(8))
        windows.append(memory.as_strided((3, 4), strides, start))
    return item(windows[0]), item(windows[1])


def a_view_and_its_copy(rng: Random) -> Pair:
    shown = _look(rng, bits(rng, choice(rng, ORDINARY), shape_of(rng)))
    data = bytearray(torch_bytes(shown))
    if data and rng.integers(2):
        data[int(rng.integers(len(data)))] ^= 1
    return item(shown), raw(dtype_name(shown.dtype), tuple(shown.shape), bytes(data))


def conjugate_and_negative_views(rng: Random) -> Pair:
    tensor = _look(rng, bits(rng, choice(rng, [torch.complex64, torch.complex128]), (3, 4)))
    shown = choice(rng, [tensor.conj(), torch._neg_view(tensor), tensor.conj().imag])
    other = shown.resolve_conj().resolve_neg() if rng.integers(2) else tensor
    return item(shown), item(other)


def one_sign_of_zero(rng: Random) -> Pair:
    dtype = choice(rng, [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    first = torch.zeros(shape_of(rng, least=1), dtype=dtype)
    second = first.clone()
    second.view(-1)[int(rng.integers(second.numel()))] *= choice(rng, [1, -1])
    return item(first), item(second)


def two_payloads_of_nan(rng: Random) -> Pair:
    payloads = rng.integers(0x7F800001, 0x7F800005, (2, 4), dtype=np.uint32)
    return tuple(item(torch.from_numpy(row).view(torch.float32)) for row in payloads)


def _header(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    sizes = b"".join(size.to_bytes(8, "little") for size in (*shape, len(data)))
    return bytes([len(dtype)]) + dtype.encode() + bytes([len(shape)]) + sizes


def header_bytes_moved_into_the_data(rng: Random) -> Pair:
    shape = shape_of(rng)
    data = rng.bytes(math.prod(shape))
    header = _header("uint8", shape, data)
    root = _core.blake3(data)
    moved = [header + root, header + data, header[-8:] + data, header[6:] + data, root]
    longer = choice(rng, moved)
    return raw("uint8", shape, data), raw("uint8", (len(longer),), longer)


def sizes_moved_into_the_data(rng: Random) -> Pair:
    """The last sizes of a header, or its count of bytes, at the front of the data instead."""
    count = int(rng.integers(1, 40))
    data = rng.bytes(count)
    size = count.to_bytes(8, "little")
    moved = choice(rng, [size + data, size * 2 + data, data + size])
    shape = choice(rng, [(len(moved),), (1, len(moved)), (len(moved), 1)])
    return raw("uint8", (count,), data), raw("uint8", shape, moved)


def the_count_of_bytes_as_a_size(rng: Random) -> Pair:
    size, width = int(rng.integers(1, 5)), choice(rng, [1, 2, 4, 8])
    name = {1: "uint8", 2: "int16", 4: "float32", 8: "int64"}
    data = rng.bytes(size * width)
    first = raw(name[width], (size,), data)
    second = choice(rng, [(0, size), (size, 0), (size * width, 0), (0, size * width)])
    other = choice(rng, [(name[width], second, b""), (name[1], (size * width,), data)])
    return first, raw(*other)


def names_that_begin_alike(rng: Random) -> Pair:
    """A dtype's name that is another's and a character, which the rank then is."""
    short, long = choice(
        rng,
        [
            *(("int1", "int16"), ("int3", "int32"), ("int6", "int64"), ("uint1", "uint16")),
            *(("uint3", "uint32"), ("uint6", "uint64"), ("bits1x8", "bits16")),
            ("float8_e4m3fn", "float8_e4m3fnuz"),
        ],
    )
    # The shorter one's rank is the code of the character where the names part.
    rank = ord(long[len(short)]) if long.startswith(short) else ord("6")
    elements = 2 * int(rng.integers(1, 4))
    width = getattr(torch, long).itemsize
    data = rng.bytes(elements * width)
    first = raw(short, (1,) * (rank - 1) + (len(data),), data)
    return first, raw(long, choice(rng, [(elements,), (1,) * (rank - 1) + (elements,)]), data)


def a_row_and_a_whole_tensor(rng: Random) -> Pair:
    tensor = _look(rng, bits(rng, choice(rng, ORDINARY), shape_of(rng, 3, 1)))
    if tensor.dim() < 2 or tensor.shape[0] == 0:
        tensor = bits(rng, torch.float32, (2, 3))
    run = int(rng.integers(1, 3))
    digests = view(tensor).row_digests(-(-tensor.shape[0] // run))
    run = -(-tensor.shape[0] // -(-tensor.shape[0] // run))
    row = int(rng.integers(len(digests) // 32))
    own = tensor[row * run : (row + 1) * run]
    shown = Item(content_of(own[0] if run == 1 else own), digests[32 * row : 32 * row + 32].hex())
    return shown, item(choice(rng, [own, own[0], tensor, tensor[-1]]))


def a_true_that_is_another_byte(rng: Random) -> Pair:
    first = torch.from_numpy(rng.integers(0, 3, 4, dtype=np.uint8))
    second = torch.from_numpy(rng.integers(0, 3, 4, dtype=np.uint8))
    bytes_of = [(t != 0).to(torch.uint8).numpy().tobytes() for t in (first, second)]
    made = [commit(t.view(torch.bool)).digest for t in (first, second)]
    return tuple(
        Item(("strided", "bool", (4,), data), digest)
        for data, digest in zip(bytes_of, made, strict=True)
    )


def numpy_and_torch(rng: Random) -> Pair:
    tensor = bits(rng, choice(rng, [torch.float32, torch.int16, torch.uint64]), (3, 4))
    array = tensor.numpy()
    swapped = array.astype(array.dtype.newbyteorder(">"))
    same = [array, swapped, np.asfortranarray(array), np.asfortranarray(swapped)]
    if rng.integers(2):
        return item(tensor), Item(content_of(tensor), commit(choice(rng, same)).digest)
    backwards = choice(rng, same)[::-1, ::-1]
    content = ("strided", array.dtype.name, (3, 4), array[::-1, ::-1].tobytes())
    return item(tensor), Item(content, commit(backwards).digest)


ORDINARY_KINDS = [
    the_same_bytes_as_another_dtype,
    the_same_bytes_in_another_shape,
    empty_tensors_of_other_sizes,
    two_views_of_one_memory,
    windows_over_a_repeating_memory,
    a_view_and_its_copy,
    conjugate_and_negative_views,
    one_sign_of_zero,
    two_payloads_of_nan,
    header_bytes_moved_into_the_data,
    sizes_moved_into_the_data,
    the_count_of_bytes_as_a_size,
    names_that_begin_alike,
    a_row_and_a_whole_tensor,
    a_true_that_is_another_byte,
    numpy_and_torch,
]
