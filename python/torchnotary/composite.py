"""Tensors of several parts: the rule that makes one commitment of sparse, quantised, nested ones.

Each component is an ordinary tensor with its ordinary digest (docs/formats.md, "Composite
tensors"). Neither torch nor numpy is needed: `layouts` cuts torch tensors into components.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from . import _core
from .errors import UnsupportedTensor

_CONTEXT = "torchnotary 2026-11 composite v1"

STRIDED = "strided"
"""The layout of an ordinary tensor."""

COMPONENTS: dict[str, tuple[str, ...] | None] = {
    "sparse_coo": ("indices", "values"),
    "sparse_csr": ("crow_indices", "col_indices", "values"),
    "sparse_csc": ("ccol_indices", "row_indices", "values"),
    "sparse_bsr": ("crow_indices", "col_indices", "values"),
    "sparse_bsc": ("ccol_indices", "row_indices", "values"),
    "quantized_per_tensor": ("int_repr", "scale", "zero_point"),
    "quantized_per_channel": ("int_repr", "scales", "zero_points", "axis"),
    "nested_strided": None,
    "nested_jagged": None,
}
"""The names of the components by layout, in the order they are hashed in; None for nested tensors,
which have as many as they have members, named 0, 1, …"""


def component_names(layout: str, count: int) -> tuple[str, ...]:
    """The names of ``count`` components of a layout. Raises ValueError where there is no such
    layout or it has another number of them."""
    if layout not in COMPONENTS:
        raise ValueError(f"no composite layout {layout!r}")
    names = COMPONENTS[layout]
    if names is None:
        return tuple(map(str, range(count)))
    if count != len(names):
        raise ValueError(f"{layout} has {len(names)} components, not {count}")
    return names


def composite_digests(
    layout: str, dtype: str, shape: Sequence[int], digests: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """(data root, digest), 32 bytes each, over the digests of a tensor's components."""
    component_names(layout, len(digests))
    root = _core.blake3(b"".join(digests))
    header = b"".join(
        (
            *(bytes([len(name)]) + name.encode("ascii") for name in (layout, dtype)),
            struct.pack(f"<B{len(shape)}Q", len(shape), *shape),
            struct.pack("<Q", len(digests)),
        )
    )
    return root, _core.blake3(header + root, context=_CONTEXT)


class Composite:
    """A tensor of several parts, not yet hashed; stands where an ordinary one is a `_core.View`.

    ``dtype`` is that of its elements as torch names it (``float32``, ``qint8``), ``components``
    are views of its parts by name, ``nbytes`` is the sum of theirs.
    """

    __slots__ = ("layout", "dtype", "shape", "components", "nbytes")

    def __init__(
        self, layout: str, dtype: str, shape: Sequence[int], components: Mapping[str, _core.View]
    ) -> None:
        component_names(layout, len(components))
        if len(shape) > 255:
            raise UnsupportedTensor(
                "the tensor has too many dimensions",
                expected="at most 255",
                actual=len(shape),
                next_step="reshape the tensor",
            )
        self.layout = layout
        self.dtype = dtype
        self.shape = tuple(map(int, shape))
        self.components = dict(components)
        self.nbytes = sum(view.nbytes for view in self.components.values())

    def commit(self, threads: int = 1) -> tuple[bytes, bytes]:
        """(data root, digest), 32 bytes each."""
        digests = [view.commit(threads)[1] for view in self.components.values()]
        return composite_digests(self.layout, self.dtype, self.shape, digests)
