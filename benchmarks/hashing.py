"""How fast bytes become digests: BLAKE3 against the PyPI package, and a small tensor's commit."""

from __future__ import annotations

import numpy
import torch
from blake3 import blake3

import torchnotary
from harness import Bench, Row, Summary, alternate, scaled, time_each
from torchnotary import _core

_FROM_MEMORY = 256 * 2**20
_IN_CACHE = 256 * 2**10


def measure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for where, size, threads, calls in (
        ("from memory, 1 thread", _FROM_MEMORY, 1, 1),
        ("in cache, 1 thread", _IN_CACHE, 1, 200),
        ("from memory, 2 threads", _FROM_MEMORY, 2, 1),
    ):
        data = numpy.random.default_rng(0).bytes(size)
        pairs = alternate(
            lambda data=data, threads=threads: blake3(data, max_threads=threads).digest(),
            lambda data=data, threads=threads: _core.blake3(data, threads=threads),
            bench.rounds(20),
            calls=calls,
        )
        for who, times in (("ours", pairs.ours), ("PyPI blake3", pairs.peer)):
            rates = Summary.of([size * calls / nanoseconds for nanoseconds in times])
            rows.append(Row(f"BLAKE3 {where}: {who}", "GB/s", rates))
    small = torch.randn(64)
    times = time_each(lambda: torchnotary.commit(small), bench.rounds(50), 100)
    rows.append(Row("commit of a 64-element tensor", "µs", scaled(times, 1e-3)))
    return rows
