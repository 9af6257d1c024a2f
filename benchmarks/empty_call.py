"""What recording adds on the caller's path where the model itself costs nothing.

An identity over a (4, 64) float32 tensor is recorded, decorated and attached. *Paced*: bursts of
200 calls, the writer idle when each begins; it wakes at the first call, and takes the interpreter
lock during the rest only where the caller's path lets go of it. *One call after idling*: the
writer has just run and the caches hold little of the recorder. *Tight loop*: calls back to back,
the caller sharing the interpreter lock with the writer that stores earlier records.
``mlflow.trace`` around the same identity, its traces stored by a thread of its own in files, is
paced in the same way.
"""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch

import torchnotary
from harness import Bench, Row, Summary, quantile, scaled, time_each
from models import Empty

TARGET_US = 20.0
TARGET_P99_US = 60.0
_BATCH = 200  # fewer calls than fit into the 5 ms after which a waiting thread is let in
_PER_P99 = 1000  # calls


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
        if find_spec("mlflow"):
            rows.append(_mlflow(bench, x))
    return rows


def _mlflow(bench: Bench, x: torch.Tensor) -> Row:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # its databases need more than the skinny one
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri((bench.folder / "mlruns").as_uri())
    call = _bind(mlflow.trace(lambda x: x), x)
    call()
    cost = time_each(call, bench.rounds(15), 16, settle=mlflow.flush_trace_async_logging)
    return Row("mlflow.trace, paced", "µs", scaled(cost, 1e-3), note="bursts of 16 calls")


def _bind(call: Callable, x: torch.Tensor) -> Callable:
    return lambda: call(x)


def _measure_variant(
    bench: Bench, notary: torchnotary.Notary, variant: str, call: Callable
) -> list[Row]:
    call()
    notary.flush()
    paced = time_each(call, bench.rounds(50), _BATCH, settle=notary.flush)
    alone = time_each(call, bench.rounds(300), 1, settle=notary.flush)
    tight, seconds = _tight_loop(bench.rounds(20) * 100, call)
    notary.flush()
    missed = notary.stats()["missed"]
    return [
        Row(f"{variant}, paced", "µs", scaled(paced, 1e-3), TARGET_US),
        Row(f"{variant}, paced, p99 of {_PER_P99} calls", "µs", _p99(paced), TARGET_P99_US),
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


def _p99(nanoseconds: list[int]) -> Summary:
    """Microseconds of the 99th percentile, of every so many calls in a row."""
    parts = [nanoseconds[i : i + _PER_P99] for i in range(0, len(nanoseconds), _PER_P99)]
    return Summary.of([quantile(sorted(part), 0.99) / 1e3 for part in parts])


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
