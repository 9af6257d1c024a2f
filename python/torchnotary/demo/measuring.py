"""What recording costs against not recording, measured in one run, and whether the bits agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

OWN_CALLS = 30


@dataclass
class Cost:
    """Seconds of recorded and plain calls in pairs, of recording by itself, and equal bits."""

    recorded: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    itself: list[float] = field(default_factory=list)
    same_bits: int = 0

    @property
    def pairs(self) -> int:
        return len(self.plain)

    @property
    def ratio(self) -> float:
        """Recorded over plain, the median of the pairs."""
        return statistics.median(self._ratios())

    @property
    def middle_half(self) -> tuple[float, float]:
        """Between which ratios the middle half of the pairs lies: how noisy the forwards are."""
        first, _, third = statistics.quantiles(self._ratios(), n=4, method="inclusive")
        return first, third

    @property
    def forward(self) -> float:
        """Median seconds of a plain call."""
        return statistics.median(self.plain)

    @property
    def own(self) -> float:
        """Median seconds a recorded call takes when its answer is already there."""
        return statistics.median(self.itself)

    def _ratios(self) -> list[float]:
        return [r / p for r, p in zip(self.recorded, self.plain, strict=True)]


def record_in_pairs(embed: Callable, batches: Iterable[list[str]]) -> tuple[Cost, Any]:
    """Embeds every batch twice, recorded and plain, in turns which goes first.

    ``embed`` is the recorded function; returns the cost and the last recorded output.
    """
    cost, output = Cost(), None
    plain = embed.__wrapped__
    for number, texts in enumerate(batches):
        if number % 2:
            expected = _timed(cost.plain, plain, texts)
            output = _timed(cost.recorded, embed, texts)
        else:
            output = _timed(cost.recorded, embed, texts)
            expected = _timed(cost.plain, plain, texts)
        cost.same_bits += same_bits(output, expected)
    return cost, output


def measure_itself(cost: Cost, notary: Any, model: Any, texts: list[str], output: Any) -> None:
    """Times recorded calls that return ``output`` at once: what is left is recording's own time.

    The difference of two forwards drowns in their noise; this does not.
    """

    @notary.record(model=model)
    def answer(texts: list[str]) -> Any:
        return output

    answer(texts)
    for _ in range(OWN_CALLS):
        notary.flush()
        _timed(cost.itself, answer, texts)


def same_bits(a: Any, b: Any) -> bool:
    """Whether two tensors are equal in dtype, shape and every bit."""
    import torchnotary as tn

    return tn.commit(a) == tn.commit(b)


def _timed(seconds: list[float], call: Callable, *arguments: Any) -> Any:
    start = time.perf_counter()
    result = call(*arguments)
    seconds.append(time.perf_counter() - start)
    return result
