"""How a difference spreads: how far two traces lie apart at the culprit, and at what ran after it.

Distances are those of kept outputs, in units in the last place (ULP): how many representable values
lie between two elements. A histogram counts elements by powers of two of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from .. import _core
from .traces import Trace

SHOWN_BUCKETS = 6


@dataclass(frozen=True)
class Apart:
    """How far two tensors of one dtype and shape lie apart: elements, how many of them differ, the
    largest absolute difference, the scale (largest absolute value on the first side), the largest
    distance in ULP, and the histogram: (at least so many ULP, elements), each bucket up to twice
    that. NaN and infinities are left out of both where the difference is none or infinite."""

    elements: int
    differing: int
    largest: float
    scale: float
    ulps: int
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
            "largest": _finite(self.largest),
            "relative": _finite(self.relative),
            "ulps": self.ulps,
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
                    "largest": _finite(step.apart.largest),
                    "line": step.line,
                    "module": step.module,
                    "operator": step.operator,
                    "relative": _finite(step.apart.relative),
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


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _place(step: Step) -> str:
    return f"{step.module} ({step.operator})" if step.module else step.operator


def spread_of(
    a: Trace, b: Trace, pairs: Sequence[tuple[int, int]], culprit: tuple[int | None, int | None]
) -> Spread | None:
    """How far the kept outputs of pairs of lines lie apart, the culprit's and those after it; None
    where either side kept none. The module's name is the first side's."""
    if a.kept is None or b.kept is None:
        return None
    at = _worst(a, b, *culprit) if culprit in pairs else None
    following = [pair for pair in pairs if pair != culprit]
    growth = []
    for _, run in groupby(following, key=lambda pair: a.lines[pair[0]].module):
        # The last one that was kept: views are not.
        for ours, theirs in reversed(list(run)):
            apart = _worst(a, b, ours, theirs)
            if apart is not None:
                line = a.lines[ours]
                growth.append(Step(ours, line.module, line.name, apart))
                break
    return Spread(at, growth) if at is not None or growth else None


def _worst(a: Trace, b: Trace, ours: int, theirs: int) -> Apart | None:
    """The output of two lines that lies farthest apart, None where none is kept and differs."""
    found = [apart for apart in _aparts(a, b, ours, theirs) if apart.differing]
    return max(found, key=lambda apart: apart.relative, default=None)


def _aparts(a: Trace, b: Trace, ours: int, theirs: int) -> Iterator[Apart]:
    """How far the outputs of two lines lie apart that are kept, floating and of one shape."""
    for output in sorted({item.output for item in a.lines[ours].outputs or ()}):
        recorded, found = a.kept.content(ours, output), b.kept.content(theirs, output)
        if recorded is None or found is None or recorded[:2] != found[:2]:
            continue
        if recorded[0].startswith(("float", "bfloat", "complex")):
            yield _apart(recorded[0], recorded[2], found[2])


def _apart(dtype: str, recorded: memoryview, found: memoryview) -> Apart:
    difference = _core.Difference(dtype)
    difference.add(recorded, found)
    counts = enumerate(difference.histogram)
    return Apart(
        len(recorded) // _core.itemsize(dtype),
        difference.differing,
        difference.largest or 0.0,
        difference.scale,
        difference.ulps,
        tuple((1 << (i - 1) if i else 0, count) for i, count in counts if count),
    )
