"""How far two results lie apart, and whether that is within rounding, where both are at hand.

The bound is |a − b| ≤ 64 · eps(dtype) · max |b| over a tensor: a few dozen roundings of its largest
element. NaN and infinities must stand in the same places; everything that is not a floating
tensor, or a floating component of a composite one, must be equal bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..leaves import Leaf
from ..statement.evidence import tensor_of

ROUNDINGS = 64


@dataclass(frozen=True)
class Distance:
    """How far one tensor lies from the recorded one: largest absolute difference and the bound
    for it, largest distance in units in the last place; ``within`` says whether it is rounding."""

    path: str
    largest: float
    bound: float
    ulps: int | None
    within: bool

    def __str__(self) -> str:
        relation = "≤" if self.within else ">"
        ulps = f", {self.ulps} ULP" if self.ulps is not None else ""
        return f"{self.path}: {self.largest:.3g} {relation} {self.bound:.3g}{ulps}"


def distances(recorded: Sequence[Leaf], found: Sequence[Leaf]) -> list[Distance]:
    """Distances of the leaves that differ; leaves carry their values (``kept``)."""
    by_path = {leaf.path: leaf for leaf in found}
    measured = []
    for leaf in recorded:
        other = by_path.pop(leaf.path, None)
        if other is None or not _alike(leaf, other):
            measured.append(_unlike(leaf.path))
        elif leaf.digests != other.digests:
            measured.append(_measure(leaf, other))
    return measured + [_unlike(path) for path in by_path]


def _alike(a: Leaf, b: Leaf) -> bool:
    return (a.kind, a.layout, a.dtype, a.shape and tuple(a.shape)) == (
        b.kind,
        b.layout,
        b.dtype,
        b.shape and tuple(b.shape),
    )


def _unlike(path: str) -> Distance:
    return Distance(path, math.inf, 0.0, None, False)


def _measure(recorded: Leaf, found: Leaf) -> Distance:
    if recorded.kind != "tensor":
        return _unlike(recorded.path)
    if recorded.layout is not None:
        return _measure_composite(recorded, found)
    import torch

    a, b = tensor_of(found), tensor_of(recorded)
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    if not a.is_floating_point():
        return _unlike(recorded.path)
    wide_a, wide_b = a.double(), b.double()
    finite = torch.isfinite(wide_b)
    same_places = torch.equal(
        wide_a[~finite].nan_to_num(nan=0.5), wide_b[~finite].nan_to_num(nan=0.5)
    )
    if not same_places or not torch.isfinite(wide_a[finite]).all():
        return _unlike(recorded.path)
    if not finite.any():
        return Distance(recorded.path, 0.0, 0.0, None, True)
    largest = (wide_a[finite] - wide_b[finite]).abs().max().item()
    bound = ROUNDINGS * torch.finfo(a.dtype).eps * wide_b[finite].abs().max().item()
    return Distance(
        recorded.path, largest, bound, ulp_distance(a[finite], b[finite]), largest <= bound
    )


def _measure_composite(recorded: Leaf, found: Leaf) -> Distance:
    """The distance of the component that lies farthest apart. Integers, such as indices and those
    of quantised tensors, must be equal."""
    parts = distances(recorded.kept, found.kept)
    worst = max(parts, key=lambda part: (not part.within, part.largest))
    return replace(worst, path=recorded.path)


def ulp_distance(a: Any, b: Any) -> int:
    """Largest number of representable values between two finite floating tensors, element by
    element; +0 and −0 are the same value."""
    import torch

    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    bits_a, bits_b = (x.contiguous().view(integers).long() for x in (a, b))
    lowest = -(1 << (8 * a.element_size() - 1))
    magnitude_a, magnitude_b = (torch.where(x < 0, x - lowest, x) for x in (bits_a, bits_b))
    same_sign = (bits_a < 0) == (bits_b < 0)
    apart = (magnitude_a - magnitude_b).abs()[same_sign]
    largest = int(apart.max()) if apart.numel() else 0
    # Across zero the two magnitudes add up, which may not fit 64 bits: Python adds them.
    for x, y in zip(
        magnitude_a[~same_sign].tolist(), magnitude_b[~same_sign].tolist(), strict=True
    ):
        largest = max(largest, x + y)
    return largest
