"""How a difference spreads: how far two traces lie apart at the culprit, and at what ran after it.

Distances are those of kept outputs, in units in the last place (ULP): how many representable values
lie between two elements. A histogram counts elements by powers of two of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .tolerance import magnitudes
from .traces import Trace

SHOWN_BUCKETS = 6
_PIECE = 1 << 20  # elements compared at a time


@dataclass(frozen=True)
class Apart:
    """How far two tensors of one dtype and shape lie apart: elements, how many of them differ, the
    largest absolute difference, the scale (largest absolute value on the first side), the largest
    distance in ULP, how many elements differ in a NaN or an infinity, and the histogram: (at least so many ULP, elements), each bucket up to twice that."""

    elements: int
    differing: int
    largest: float
    scale: float
    ulps: int
    undefined: int = 0
    histogram: tuple[tuple[int, int], ...] = ()

    @property
    def relative(self) -> float:
        """The largest difference beside the largest value."""
        return self.largest / self.scale if self.scale else math.inf if self.largest else 0.0

    def __str__(self) -> str:
        return f"{self.ulps} ULP, {self.relative:.2g} of the largest value"

    def to_json(self) -> dict[str, Any]:
        return {
            "differing": self.differing,
            "elements": self.elements,
            "histogram": [list(bucket) for bucket in self.histogram],
            "largest": self.largest,
            "relative": self.relative if math.isfinite(self.relative) else None,
            "ulps": self.ulps,
            "undefined": self.undefined,
        }


@dataclass(frozen=True)
class Step:
    """How far apart the output of one line is: the last of those that its module ran in a row."""

    line: int
    module: str | None
    operator: str
    apart: Apart


@dataclass(frozen=True)
class Spread:
    """The distance ``at`` the culprit (None where its output was not kept) and ``growth``, how it
    goes on from there, in the order in which the lines ran."""

    at: Apart | None
    growth: list[Step] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at and self.at.to_json(),
            "growth": [
                {
                    "largest": step.apart.largest,
                    "line": step.line,
                    "module": step.module,
                    "operator": step.operator,
                    "relative": step.apart.to_json()["relative"],
                    "ulps": step.apart.ulps,
                }
                for step in self.growth
            ],
        }

    def __str__(self) -> str:
        parts = []
        if self.at is not None:
            parts.append(f"{self.at} in {self.at.differing} of {self.at.elements} elements")
            buckets = [f"{n} from {least}" for least, n in self.at.histogram if least]
            if buckets:
                more = " …" if len(buckets) > SHOWN_BUCKETS else ""
                parts[0] += f" (by ULP: {', '.join(buckets[:SHOWN_BUCKETS])}{more})"
        if self.growth:
            peak = max(self.growth, key=lambda step: step.apart.relative)
            last = self.growth[-1]
            if peak.apart.relative > last.apart.relative:
                parts.append(f"then up to {peak.apart} at {_place(peak)}")
            parts.append(f"in the end {last.apart} at {_place(last)}")
        return "; ".join(parts)


def _place(step: Step) -> str:
    return f"{step.module} ({step.operator})" if step.module else step.operator


def spread_of(
    a: Trace, b: Trace, pairs: Sequence[tuple[int, int]], culprit: tuple[int | None, int | None]
) -> Spread | None:
    """How far the kept outputs of pairs of lines lie apart, the culprit's and those after it; None
    where either side kept none. The module's name is the first side's."""
    if a.kept is None or b.kept is None:
        return None
    at, growth = None, []
    for ours, theirs in pairs:
        found = [x for x in _aparts(a, b, ours, theirs) if x.differing]
        if not found:
            continue
        worst = max(found, key=lambda apart: apart.relative)
        if (ours, theirs) == culprit:
            at = worst
            continue
        line = a.lines[ours]
        step = Step(ours, line.module, line.name, worst)
        if growth and growth[-1].module == step.module:
            growth[-1] = step
        else:
            growth.append(step)
    return Spread(at, growth) if at is not None or growth else None


def _aparts(a: Trace, b: Trace, ours: int, theirs: int) -> Iterator[Apart]:
    outputs = {item.output for item in a.lines[ours].outputs or ()}
    for output in sorted(outputs):
        recorded, found = a.kept.tensor(ours, output), b.kept.tensor(theirs, output)
        if recorded is not None and found is not None:
            apart = apart_of(recorded, found)
            if apart is not None:
                yield apart


def apart_of(recorded: Any, found: Any) -> Apart | None:
    """How far two tensors lie apart; None where they differ in dtype or shape, or are no floating
    or complex numbers."""
    import torch

    if recorded.dtype != found.dtype or recorded.shape != found.shape:
        return None
    if recorded.is_complex():
        recorded, found = torch.view_as_real(recorded), torch.view_as_real(found)
    if not recorded.is_floating_point():
        return None
    a, b = recorded.reshape(-1), found.reshape(-1)
    buckets = torch.zeros(66, dtype=torch.long)
    differing = undefined = ulps = 0
    largest = scale = 0.0
    for begin in range(0, a.numel(), _PIECE):
        x, y = a[begin : begin + _PIECE], b[begin : begin + _PIECE]
        unlike = _bits(x) != _bits(y)
        differing += int(unlike.sum())
        wide_x, wide_y = x.double(), y.double()
        finite = torch.isfinite(wide_x) & torch.isfinite(wide_y)
        undefined += int((unlike & ~finite).sum())
        if not finite.any():
            continue
        largest = max(largest, float((wide_x[finite] - wide_y[finite]).abs().max()))
        scale = max(scale, float(wide_x[finite].abs().max()))
        distance = _ulps(x[finite], y[finite])
        ulps = max(ulps, int(distance.max()))
        buckets += torch.bincount(torch.frexp(distance).exponent, minlength=66)
    counted = [(1 << (i - 1) if i else 0, n) for i, n in enumerate(buckets.tolist()) if n]
    return Apart(a.numel(), differing, largest, scale, ulps, undefined, tuple(counted))


def _ulps(x: Any, y: Any) -> Any:
    """Elementwise distance in ULP as float64: exact below 2^53, rounded above."""
    import torch

    (negative_x, size_x), (negative_y, size_y) = magnitudes(x), magnitudes(y)
    along = (size_x - size_y).abs().double()
    return torch.where(negative_x == negative_y, along, size_x.double() + size_y.double())


def _bits(x: Any) -> Any:
    import torch

    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(integers)
