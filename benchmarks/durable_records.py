"""How many records a second become durable: calls back to back and the flush after them."""

from __future__ import annotations

import gc
import time

import torch

import torchnotary
from harness import Bench, Row, Summary
from models import Empty

_CALLS = 2000


def measure(bench: Bench) -> list[Row]:
    x = torch.randn(4, 64)
    rates, waits = [], []
    notary = torchnotary.Notary(bench.folder / "log-durable")
    recorded = notary.record(lambda x: x, model=Empty().eval())
    one_by_one = []
    with torch.inference_mode():
        for _ in range(1 + bench.rounds(6)):
            gc.collect()
            begun = time.perf_counter()
            for _ in range(_CALLS):
                recorded(x)
            called = time.perf_counter()
            notary.flush()
            ended = time.perf_counter()
            rates.append(_CALLS / (ended - begun))
            waits.append(ended - called)
        for _ in range(1 + bench.rounds(100)):
            begun = time.perf_counter()
            recorded(x)
            notary.flush()
            one_by_one.append((time.perf_counter() - begun) * 1e3)
    notary.close()
    return [
        Row("durable records, back to back", "1/s", Summary.of(rates[1:])),
        Row(f"flush after {_CALLS:,} of them", "s", Summary.of(waits[1:])),
        Row("one call until it is durable", "ms", Summary.of(one_by_one[1:])),
    ]
