"""Four models recorded by default against the same models plain: time, and the same bits.

A block of calls runs back to back, so the writer's own work on all but the last of them happens
while the next ones compute and is in the figure.
"""

from __future__ import annotations

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate, scaled
from models import ALL, bits

TARGET_RATIO = 1.02
_CALLS = 4


def measure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for number, (name, make) in enumerate(ALL.items()):
        model, inputs = make()
        notary = torchnotary.Notary(bench.folder / f"log-end-to-end-{number}")
        recorded = notary.record(lambda model=model, **given: model(**given), model=model)
        with torch.inference_mode():
            if bits(recorded(**inputs)) != bits(model(**inputs)):
                raise AssertionError(f"{name}: the recorded call returned other bits")
            pairs = alternate(
                lambda model=model, inputs=inputs: model(**inputs),
                lambda recorded=recorded, inputs=inputs: recorded(**inputs),
                bench.rounds(24),
                calls=_CALLS,
                settle=notary.flush,
            )
        missed = notary.stats()["missed"]
        notary.close()
        ratio = Summary.of(pairs.ratios())
        note = f"same bits; {missed} calls missed" if missed else "same bits"
        rows += [
            Row(f"{name}: recorded / plain", "×", ratio, TARGET_RATIO, note),
            Row(f"{name}: plain", "ms", scaled(pairs.peer, 1e-6 / _CALLS)),
        ]
    return rows
