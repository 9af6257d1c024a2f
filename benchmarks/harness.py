"""How benchmarks measure: two contenders in turn in one process, and what is said of the samples.

Two programs timed one after the other differ by whatever the machine did in between. Here the
peer and ours take turns, and a figure is the median of the ratios of neighbours, so that what
slows both cancels out. Order swaps every round: being first is no advantage.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Clock = Callable[[], int]


@dataclass(frozen=True)
class Summary:
    """What is said of samples: median and spread, in the unit of the samples."""

    count: int
    min: float
    q1: float
    median: float
    q3: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Raises ValueError where there are no samples."""
        if not samples:
            raise ValueError("a summary needs at least one sample")
        ordered = sorted(samples)
        quantiles = (quantile(ordered, q) for q in (0.0, 0.25, 0.5, 0.75, 0.99, 1.0))
        return cls(len(ordered), *quantiles)


def quantile(ordered: Sequence[float], q: float) -> float:
    """The ``q`` quantile (0 to 1) of ascending samples, interpolated linearly between two."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@dataclass(frozen=True)
class Row:
    """One figure. ``target`` bounds the median from above, ``at_least`` from below; figures with
    neither inform."""

    figure: str
    unit: str
    summary: Summary
    target: float | None = None
    note: str = ""
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        if self.at_least is not None:
            return self.summary.median >= self.at_least
        return None if self.target is None else self.summary.median <= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Bench:
    """What a topic is given: how much to measure, and a scratch folder on a real disk."""

    folder: Path
    quick: bool = False
    rounds_wanted: int | None = None

    def rounds(self, full: int) -> int:
        """How many rounds to make of something worth ``full`` of them."""
        if self.rounds_wanted is not None:
            return self.rounds_wanted
        return max(3, full // 10) if self.quick else full


@dataclass(frozen=True)
class Pairs:
    """Nanoseconds of peer and ours, neighbours at the same index."""

    peer: list[int]
    ours: list[int]

    def ratios(self) -> list[float]:
        """Ours over peer, round by round."""
        return [ours / peer for peer, ours in zip(self.peer, self.ours, strict=True)]

    def speedups(self) -> list[float]:
        """How many times as fast as the peer ours was, round by round."""
        return [peer / ours for peer, ours in zip(self.peer, self.ours, strict=True)]


def alternate(
    peer: Callable[[], Any],
    ours: Callable[[], Any],
    rounds: int,
    *,
    warmup: int = 2,
    calls: int = 1,
    settle: Callable[[], Any] = lambda: None,
    clock: Clock = time.perf_counter_ns,
) -> Pairs:
    """Time ``calls`` calls of peer and as many of ours in turn, ``rounds`` times.

    ``settle`` runs untimed after each block, so that what ours left to do in the background
    (writing records) is not done while the peer is timed.
    """
    contenders = {"peer": peer, "ours": ours}
    return Pairs(
        **take_turns(contenders, rounds, warmup=warmup, calls=calls, settle=settle, clock=clock)
    )


def take_turns(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warmup: int = 2,
    calls: int = 1,
    prepare: Callable[[str], Any] = lambda name: None,
    settle: Callable[[], Any] = lambda: None,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, list[int]]:
    """As :func:`alternate`, among any number of contenders: their nanoseconds, those of one round
    at the same index. ``prepare`` runs untimed before each block and is told whose it is."""
    samples: dict[str, list[int]] = {name: [] for name in contenders}
    with quiet_gc():
        for number in range(-warmup, rounds):
            names = list(contenders)
            for name in names if number % 2 == 0 else names[::-1]:
                prepare(name)
                contender = contenders[name]
                begun = clock()
                for _ in range(calls):
                    contender()
                ended = clock()
                if number >= 0:
                    samples[name].append(ended - begun)
                settle()
            gc.collect()
    return samples


def time_each(
    call: Callable[[], Any],
    batches: int,
    calls: int,
    *,
    settle: Callable[[], Any] = lambda: None,
    clock: Clock = time.perf_counter_ns,
) -> list[int]:
    """Nanoseconds of each single call, in ``batches`` of ``calls``; the first batch warms up and
    does not count. ``settle`` runs untimed after each batch."""
    samples: list[int] = []
    with quiet_gc():
        for batch in range(batches + 1):
            times = [0] * calls
            for index in range(calls):
                begun = clock()
                call()
                times[index] = clock() - begun
            settle()
            if batch:
                samples += times
            gc.collect()
    return samples


@contextmanager
def quiet_gc() -> Iterator[None]:
    """No garbage collection but those asked for, and these look at young objects only: a
    collection over everything that torch has loaded takes longer than what is measured."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def scaled(samples: Sequence[float], factor: float) -> Summary:
    """Summary of samples times ``factor`` (1e-3 makes microseconds of nanoseconds)."""
    return Summary.of([sample * factor for sample in samples])
