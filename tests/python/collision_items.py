"""What the pairs built to collide are made of: tensors with the content they have and their digest.

Contents are said by torch, NumPy and sorting, never by the code under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from commitment_reference import dtype_name, random_bits, torch_bytes
from torchnotary import _core, commit
from torchnotary.composite import Composite, component_names

Content = tuple  # layout, dtype, shape, then data bytes or the contents of the components


@dataclass(frozen=True)
class Item:
    """A tensor: what it holds, and the digest that the code under test gives it."""

    content: Content
    digest: str


Pair = tuple[Item, Item]


def item(tensor: torch.Tensor) -> Item:
    """Of a torch tensor."""
    return Item(content_of(tensor), commit(tensor).digest)


def raw(dtype: str, shape: tuple[int, ...], data: bytes) -> Item:
    """Of an ordinary tensor of these data bytes."""
    digest = _core.View.from_buffer(data, dtype, shape).commit()[1].hex()
    return Item(("strided", dtype, shape, data), digest)


def assembled(layout: str, dtype: str, shape: tuple[int, ...], parts: list[Content]) -> Item:
    """Of a composite tensor of these ordinary components, that no library need be able to make."""
    views = [_core.View.from_buffer(data, name, sizes) for _, name, sizes, data in parts]
    names = component_names(layout, len(parts))
    made = Composite(layout, dtype, shape, dict(zip(names, views, strict=True)))
    return Item((layout, dtype, shape, *parts), made.commit()[1].hex())


def content_of(tensor: torch.Tensor) -> Content:
    name = dtype_name(tensor.dtype)
    if tensor.is_nested:
        layout = "nested_jagged" if tensor.layout is torch.jagged else "nested_strided"
        members = [content_of(member) for member in tensor.unbind()]
        return layout, name, (len(members),), *members
    shape = tuple(tensor.shape)
    if tensor.is_quantized:
        return _quantised_content(tensor, name, shape)
    if tensor.layout is torch.sparse_coo:
        return ("sparse_coo", name, shape, *_coo_components(tensor))
    if tensor.layout is not torch.strided:
        rows = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
        named = ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")
        parts = [content_of(getattr(tensor, part)()) for part in (*named, "values")]
        return str(tensor.layout).removeprefix("torch."), name, shape, *parts
    return "strided", name, shape, torch_bytes(tensor)


def _coo_components(tensor: torch.Tensor) -> tuple[Content, Content]:
    columns = list(map(tuple, tensor._indices().T.tolist()))
    order = sorted(range(len(columns)), key=columns.__getitem__)
    numbers = [columns[i][row] for row in range(tensor.sparse_dim()) for i in order]
    values = b"".join(torch_bytes(tensor._values()[i]) for i in order)
    return (
        ("strided", "int64", tuple(tensor._indices().shape), np.array(numbers, "<i8").tobytes()),
        ("strided", dtype_name(tensor.dtype), tuple(tensor._values().shape), values),
    )


def _quantised_content(tensor: torch.Tensor, name: str, shape: tuple[int, ...]) -> Content:
    integers = content_of(tensor.int_repr())
    if tensor.qscheme() is torch.per_tensor_affine:
        scale = torch.tensor(tensor.q_scale(), dtype=torch.float64)
        parts = [scale, torch.tensor(tensor.q_zero_point())]
        return "quantized_per_tensor", name, shape, integers, *map(content_of, parts)
    parts = [tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()]
    parts.append(torch.tensor(tensor.q_per_channel_axis()))
    return "quantized_per_channel", name, shape, integers, *map(content_of, parts)


Random = np.random.Generator
T = TypeVar("T")


def choice(rng: Random, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def shape_of(rng: Random, rank: int | None = None, least: int = 0) -> tuple[int, ...]:
    rank = int(rng.integers(5)) if rank is None else rank
    return tuple(int(n) for n in rng.integers(least, 5, rank))


def bits(rng: Random, dtype: torch.dtype, shape) -> torch.Tensor:
    return random_bits(dtype, shape, int(rng.integers(2**32)))
