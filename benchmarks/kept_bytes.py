"""How many bytes a record takes in the log folder: the databases' growth per call.

The first records are not counted: they carry the model's line files, which later ones share.
Closing the notary checkpoints SQLite's write-ahead log, so the files are measured at rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import torchnotary
from harness import Bench, Row, Summary
from models import Empty, minilm


def measure(bench: Bench) -> list[Row]:
    calls = max(64, bench.rounds(256))
    x = torch.randn(4, 64)
    model, inputs = minilm()
    with torch.inference_mode():
        outputs = model(**inputs)
        return [
            *_growth(
                bench.folder / "log-kept-empty", "empty call", Empty(), lambda x: x, {"x": x}, calls
            ),
            *_growth(
                bench.folder / "log-kept-minilm",
                "MiniLM 16×64",
                model,
                lambda input_ids, attention_mask: outputs,
                inputs,
                calls,
            ),
        ]


def _growth(
    folder: Path, name: str, model: torch.nn.Module, function: Callable, inputs: dict, calls: int
) -> list[Row]:
    _record(folder, model.eval(), function, inputs, 8)
    before = _sizes(folder)
    _record(folder, model, function, inputs, calls)
    after = _sizes(folder)
    grown = {part: (after[part] - before.get(part, 0)) / calls for part in after}
    parts = ", ".join(f"{part} {size:,.0f}" for part, size in sorted(grown.items()) if size)
    return [
        Row(f"{name}: kept per call", "bytes", Summary.of([sum(grown.values())]), note=parts),
        Row(
            f"{name}: log folder after 8 calls", "bytes", Summary.of([float(sum(before.values()))])
        ),
    ]


def _record(
    folder: Path, model: torch.nn.Module, function: Callable, inputs: dict, calls: int
) -> None:
    notary = torchnotary.Notary(folder)
    recorded = notary.record(function, model=model)
    for _ in range(calls):
        recorded(**inputs)
    notary.close()


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes by file name, added up over the logs of the folder."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            sizes[path.name] = sizes.get(path.name, 0) + path.stat().st_size
    return sizes
