"""What recording adds on the caller's path where the model itself costs nothing.

An identity over a (4, 64) float32 tensor is recorded, decorated and attached. *Paced*: bursts of
16 calls, the writer idle when each begins; it wakes at the first call, and takes the interpreter
lock during the rest only where the caller's path lets go of it. *One call after idling*: the
writer has just run and the caches hold little of the recorder. *Tight loop*: calls back to back,
the caller sharing the interpreter lock with the writer that stores earlier records.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

import torchnotary
from harness import Bench, Row, scaled, time_each
from models import Empty

TARGET_US = 100.0
_BATCH = 16


def measure(bench: Bench) -> list[Row]:
    x = torch.randn(4, 64)
    plain, attached = Empty().eval(), Empty().eval()
    with torch.inference_mode():
        cost = time_each(lambda: plain(x), bench.rounds(100), _BATCH)
        rows = [Row("plain call", "µs", scaled(cost, 1e-3))]
        for variant in ("decorated", "attached"):
            notary = torchnotary.Notary(bench.folder / f"log-{variant}")
            if variant == "attached":
                call = _bind(notary.attach(attached), x)
            else:
                call = _bind(notary.record(lambda x: x, model=plain), x)
            rows += _measure_variant(bench, notary, variant, call)
            notary.close()
    return rows


def _bind(call: Callable, x: torch.Tensor) -> Callable:
    return lambda: call(x)


def _measure_variant(
    bench: Bench, notary: torchnotary.Notary, variant: str, call: Callable
) -> list[Row]:
    call()
    notary.flush()
    paced = time_each(call, bench.rounds(150), _BATCH, settle=notary.flush)
    alone = time_each(call, bench.rounds(300), 1, settle=notary.flush)
    tight, seconds = _tight_loop(bench.rounds(20) * 100, call)
    notary.flush()
    missed = notary.stats()["missed"]
    return [
        Row(f"{variant}, paced", "µs", scaled(paced, 1e-3), TARGET_US),
        Row(
            f"{variant}, one call after idling",
            "µs",
            scaled(alone, 1e-3),
            note="caches are cold after the writer and its fsync",
        ),
        Row(
            f"{variant}, tight loop",
            "µs",
            scaled(tight, 1e-3),
            note=f"{len(tight) / seconds:,.0f} calls/s sustained, {missed} calls missed",
        ),
    ]


def _tight_loop(calls: int, call: Callable) -> tuple[list[int], float]:
    """Nanoseconds of each of ``calls`` calls back to back, and the seconds they took together.
    Collections run as they do in a service."""
    times = [0] * calls
    clock = time.perf_counter_ns
    gc.collect()
    first = clock()
    for index in range(calls):
        begun = clock()
        call()
        times[index] = clock() - begun
    return times, (clock() - first) / 1e9
