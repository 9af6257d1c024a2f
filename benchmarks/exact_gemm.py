"""Products with weights under exact/1 against torch's, over the linear layers of four models.

Our weights are sealed, so that they are packed once, and torch's lie in ordinary memory; both sides
make new outputs, ours from memory that is used again, as in a call.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from harness import Bench, Row, Summary, alternate
from torchnotary.exact import exact_scope, prepare

# Inputs and outputs of linear layers.
SHAPES = {
    "MiniLM": [(384, 384), (384, 1536), (1536, 384)],
    "BERT-base": [(768, 768), (768, 3072), (3072, 768)],
    "GPT-2": [(768, 2304), (768, 768), (768, 3072), (3072, 768)],
    "SmolLM2": [(576, 576), (576, 192), (576, 1536), (1536, 576), (576, 49152)],
}
ROWS = (1, 8, 32, 64, 128, 512, 1024)
# Least geometric mean of the speedups by number of threads, and the least of any shape.
_TARGETS = {1: 1.05, 2: 1.0}
_LEAST = 0.9


def measure(bench: Bench) -> list[Row]:
    threads = torch.get_num_threads()
    rows = []
    try:
        with torch.inference_mode():
            for number in sorted({1, threads}):
                torch.set_num_threads(number)
                rows += _rows(bench, number)
    finally:
        torch.set_num_threads(threads)
    return rows


def _rows(bench: Bench, threads: int) -> list[Row]:
    by_count: dict[int, list[float]] = {count: [] for count in ROWS}
    least = (math.inf, "")
    for inputs, outputs in sorted({shape for shapes in SHAPES.values() for shape in shapes}):
        layer = nn.Linear(inputs, outputs).requires_grad_(False)
        prepare(layer)
        for count in ROWS:
            ratio = _speedup(bench, layer, count)
            by_count[count].append(ratio)
            least = min(least, (ratio, f"{count}×{inputs}→{outputs}"))
    where = f"{threads} thread" + ("s" if threads > 1 else "")
    every = [ratio for ratios in by_count.values() for ratio in ratios]
    mean = math.exp(sum(map(math.log, every)) / len(every))
    rows = [
        Row(
            f"linear, {where}: torch / exact, geometric mean",
            "×",
            Summary.of([mean]),
            at_least=_TARGETS.get(threads),
            note=f"{len(every)} shapes",
        ),
        Row(
            f"linear, {where}: the least",
            "×",
            Summary.of([least[0]]),
            at_least=_LEAST if threads == 1 else None,
            note=least[1],
        ),
    ]
    for count, ratios in by_count.items():
        rows.append(Row(f"linear, {where}: torch / exact, {count} rows", "×", Summary.of(ratios)))
    return rows


def _speedup(bench: Bench, layer: nn.Linear, count: int) -> float:
    """Median of torch's time over ours."""
    x = torch.linspace(-1, 1, count * layer.in_features).reshape(count, layer.in_features)
    work = count * layer.in_features * layer.out_features
    calls = max(1, min(200, 20_000_000 // work))

    weight, bias = layer.weight.clone(), layer.bias.clone()

    def peer() -> None:
        for _ in range(calls):
            F.linear(x, weight, bias)

    def exact() -> None:
        with exact_scope():
            for _ in range(calls):
                F.linear(x, layer.weight, layer.bias)

    pairs = alternate(peer, exact, max(5, bench.rounds(15)))
    return Summary.of(pairs.speedups()).median
