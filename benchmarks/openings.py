"""What opening one row of a 1 GiB weight costs: the proof's bytes, making it and verifying it."""

from __future__ import annotations

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate, scaled, time_each
from torchnotary.opening import Opening

_ROWS, _COLUMNS = 262_144, 1024
_ROW_BYTES = 4 * _COLUMNS
_QUICK_SHARE = 16


def measure(bench: Bench) -> list[Row]:
    rows = _ROWS // _QUICK_SHARE if bench.quick else _ROWS
    weight = torch.arange(rows * _COLUMNS, dtype=torch.float32).reshape(rows, _COLUMNS)
    commitment = torchnotary.commit(weight)
    name = f"one row of {rows}×{_COLUMNS} float32"
    places = range(1, rows, rows // 97)
    beside = [len(commitment.open(weight, at).encode()) - _ROW_BYTES for at in places[:12]]
    encoded = commitment.open(weight, rows // 3).encode()
    check = time_each(
        lambda: Opening.decode(encoded).verify_bytes(commitment.digest), bench.rounds(20), 20
    )
    making = alternate(
        lambda: torchnotary.commit(weight),
        lambda: commitment.open(weight, rows // 3),
        bench.rounds(10),
    )
    return [
        Row(f"verify {name}", "ms", scaled(check, 1e-6), 1.0),
        Row("its proof, beside the row", "bytes", Summary.of(beside), 4096),
        Row("opening it ÷ commit of the weight", "×", Summary.of(making.ratios())),
    ]
