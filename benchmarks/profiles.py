"""What the deterministic profile costs against the native one, both recorded, for information."""

from __future__ import annotations

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate
from models import ALL


def measure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for number, (name, make) in enumerate(ALL.items()):
        model, inputs = make()
        notaries = [
            torchnotary.Notary(bench.folder / f"log-{profile}-{number}", profile=profile)
            for profile in ("native", "deterministic")
        ]
        native, deterministic = (
            notary.record(lambda model=model, **given: model(**given), model=model)
            for notary in notaries
        )
        with torch.inference_mode():
            pairs = alternate(
                lambda native=native, inputs=inputs: native(**inputs),
                lambda deterministic=deterministic, inputs=inputs: deterministic(**inputs),
                bench.rounds(12),
                settle=lambda notaries=notaries: [notary.flush() for notary in notaries],
            )
        for notary in notaries:
            notary.close()
        rows.append(Row(f"{name}: deterministic / native", "×", Summary.of(pairs.ratios())))
    return rows
