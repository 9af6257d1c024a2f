"""How fast bytes become digests: BLAKE3 against the PyPI package and against what the machine can
do at best; small, strided and private tensors against plain ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy
import torch
from blake3 import blake3

import torchnotary
from harness import Bench, Pairs, Row, Summary, alternate, scaled, time_each
from native import Native
from torchnotary import _core, hashing
from torchnotary.commitment import commit_many, view

_FROM_MEMORY = 512 * 2**20
_IN_CACHE = 2**20
_PEER = "blake3"


def measure(bench: Bench) -> list[Row]:
    native = Native()
    return [
        *_large(bench, native),
        *_small(bench, native),
        *_many(bench),
        *_tensors(bench),
    ]


def _large(bench: Bench, native: Native) -> list[Row]:
    rows: list[Row] = []
    data = numpy.frombuffer(numpy.random.default_rng(0).bytes(_FROM_MEMORY), numpy.uint8)
    for what, size, threads, calls, at_least in (
        ("512 MiB, 1 thread", _FROM_MEMORY, 1, 1, 1.1),
        ("1 MiB in cache, 1 thread", _IN_CACHE, 1, 50, 0.97),
        ("512 MiB, 2 threads", _FROM_MEMORY, 2, 1, 1.05),
    ):
        part = data[:size]
        pairs = alternate(
            lambda part=part, threads=threads: blake3(part, max_threads=threads).digest(),
            lambda part=part, threads=threads: _core.blake3(part, threads=threads),
            bench.rounds(40),
            calls=calls,
        )
        rows += _against(what, pairs, size * calls, at_least)
    rounds = range(bench.rounds(40))
    for threads in (1, 2):
        rates = [_FROM_MEMORY / native.read(data, threads) for _ in rounds]
        name = f"limit: reading memory, {threads} thread{'s' * (threads > 1)}"
        rows.append(Row(name, "GB/s", Summary.of(rates)))
    bound = [native.instruction_bound() for _ in rounds]
    note = "850 AVX-512 additions a KiB, timed in this run"
    rows.append(Row("limit: BLAKE3's instructions", "GB/s", Summary.of(bound), note=note))
    return rows


def _against(figure: str, pairs: Pairs, nbytes: int, at_least: float) -> list[Row]:
    speedups = Summary.of(pairs.speedups())
    rows = [Row(f"{figure}, to {_PEER}", "× speed", speedups, at_least=at_least)]
    for who, times in (("ours", pairs.ours), (_PEER, pairs.peer)):
        rates = Summary.of([nbytes / nanoseconds for nanoseconds in times])
        rows.append(Row(f"{figure}: {who}", "GB/s", rates))
    return rows


def _small(bench: Bench, native: Native) -> list[Row]:
    """Our C++ call against the peer's from Python, less what an empty call costs there."""
    rows = []
    for size in (64, 1024, 4096, 65536):
        data = numpy.frombuffer(os.urandom(size), numpy.uint8)
        buffer, calls = data.tobytes(), max(20, 400_000 // (size + 400))
        ours: list[float] = []
        pairs = alternate(
            _nothing,
            lambda buffer=buffer: blake3(buffer).digest(),
            bench.rounds(60),
            calls=calls,
            settle=lambda d=data, n=calls, ours=ours: ours.append(native.blake3(d, n)),
        )
        counted = ours[-len(pairs.peer) * 2 :: 2]
        speedups = [
            (call - empty) / own
            for empty, call, own in zip(pairs.peer, pairs.ours, counted, strict=True)
        ]
        figure = f"{size} B, C++ call, to {_PEER}'s"
        note = "called from Python, less an empty call" if size == 64 else ""
        rows.append(Row(figure, "× speed", Summary.of(speedups), note=note, at_least=1.0))
        rows.append(Row(f"{size} B, C++ call", "ns", scaled(counted, 1 / calls)))
    return rows


def _nothing() -> None:
    pass


def _many(bench: Bench) -> list[Row]:
    tensors = [torch.randn(256) for _ in range(1000)]
    buffers = [tensor.numpy().view(numpy.uint8) for tensor in tensors]

    def loop() -> list[bytes]:
        return [blake3(buffer).digest() for buffer in buffers]

    rows = []
    for figure, call, at_least in (
        ("1,000 × 1 KiB at once", hashing.blake3_many, 5.0),
        ("1,000 commitments at once", lambda _: commit_many(tensors), None),
    ):
        pairs = alternate(loop, lambda call=call: call(buffers), bench.rounds(100))
        summary = Summary.of(pairs.speedups())
        rows.append(Row(f"{figure}, to a {_PEER} loop", "× speed", summary, at_least=at_least))
    return rows


def _tensors(bench: Bench) -> list[Row]:
    small = torch.randn(64)
    times = time_each(lambda: torchnotary.commit(small), bench.rounds(50), 200)
    rows = [Row("commit of a 64-element tensor", "µs", scaled(times, 1e-3), 3.0)]
    for dtype, side in ((torch.float32, 4096), (torch.bfloat16, 4096)):
        plain = torch.randn(side, side).to(dtype)
        figure = f"transposed {side}² {str(dtype).removeprefix('torch.')}, to plain"
        target = 0.5 if dtype is torch.float32 else None
        turned = plain.t()
        speed = _speed(bench, lambda t=plain: _root(t), lambda t=turned: _root(t), 20)
        rows.append(Row(figure, "× speed", speed, at_least=target))
    output, secret = torch.randn(1024, 384), os.urandom(32)
    pairs = alternate(
        lambda: view(output).commit(1),
        lambda: _core.salted_root(secret, 2, 0, view(output).row_digests()),
        bench.rounds(100),
        calls=5,
    )
    figure = "salted rows of 1,024×384, to one digest"
    rows.append(Row(figure, "× time", Summary.of(pairs.ratios()), 3.0))
    return rows


def _root(tensor: torch.Tensor) -> Any:
    return view(tensor).commit(1)


def _speed(bench: Bench, peer: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> Summary:
    return Summary.of(alternate(peer, ours, bench.rounds(rounds)).speedups())
