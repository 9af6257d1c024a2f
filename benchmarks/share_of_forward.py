"""What recording inputs and outputs of MiniLM costs, as a share of its forward.

The difference of two forwards drowns in their noise. So a callable that returns outputs computed
beforehand is recorded, with the model given and watched as usual, and what that takes is divided
by the forward that ran just before or after it, whose traffic left the caches as it would.
"""

from __future__ import annotations

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate, scaled
from models import minilm

TARGET_PERCENT = 0.3


def measure(bench: Bench) -> list[Row]:
    model, inputs = minilm()
    notary = torchnotary.Notary(bench.folder / "log-share")
    threads = torch.get_num_threads()
    rows: list[Row] = []
    try:
        with torch.inference_mode():
            for number in sorted({1, threads}):
                torch.set_num_threads(number)
                rows += _measure_at(bench, notary, model, inputs, number)
    finally:
        torch.set_num_threads(threads)
        notary.close()
    return rows


def _measure_at(
    bench: Bench, notary: torchnotary.Notary, model: torch.nn.Module, inputs: dict, threads: int
) -> list[Row]:
    outputs = model(**inputs)

    @notary.record(model=model)
    def precomputed(input_ids: torch.Tensor, attention_mask: torch.Tensor):
        return outputs

    pairs = alternate(
        lambda: model(**inputs),
        lambda: precomputed(**inputs),
        bench.rounds(60),
        settle=notary.flush,
    )
    suffix = f"{threads} thread" + ("s" if threads > 1 else "")
    share = Summary.of([100 * ratio for ratio in pairs.ratios()])
    return [
        Row(f"recording's share of the forward, {suffix}", "%", share, TARGET_PERCENT),
        Row(f"recording, {suffix}", "ms", scaled(pairs.ours, 1e-6)),
        Row(f"forward, {suffix}", "ms", scaled(pairs.peer, 1e-6)),
    ]
