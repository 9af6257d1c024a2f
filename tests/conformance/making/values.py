"""Values of recorded calls and a small model, without torch: what the suite's records speak of."""

from __future__ import annotations

import json
import struct
from typing import Any

from torchnotary._core import View
from torchnotary.leaves import Leaf, composite_leaf, flatten_arguments, unbound_leaf
from torchnotary.safetensors_header import DTYPES
from torchnotary.statement.lines import canonical, tree_of

# safetensors' name of a dtype by torch's.
_STORED = {ours: theirs for theirs, ours in DTYPES.items()}


def tensor(dtype: str, shape: tuple[int, ...], data: bytes) -> View:
    """A tensor of row-major, little-endian data bytes."""
    return View.from_buffer(data, dtype, shape)


def f32(shape: tuple[int, ...], *numbers: float) -> View:
    return tensor("float32", shape, struct.pack(f"<{len(numbers)}f", *numbers))


def i64(shape: tuple[int, ...], *numbers: int) -> View:
    return tensor("int64", shape, struct.pack(f"<{len(numbers)}q", *numbers))


def leaves(**values: Any) -> tuple[Leaf, ...]:
    """The leaves of arguments by name, each with its value kept; ``output=`` for a result."""
    return tuple(flatten_arguments(values, keep=True))


def in_calls(*calls: tuple[Leaf, ...]) -> tuple[Leaf, ...]:
    """The leaves of the calls of a group."""
    return tuple(
        leaf.at(f"calls[{n}].{leaf.path}") for n, call in enumerate(calls) for leaf in call
    )


def unbound(path: str) -> Leaf:
    return unbound_leaf(path, "pkg.Handle")


def sparse(path: str) -> Leaf:
    """A 3×2 sparse matrix of two elements."""
    parts = leaves(indices=i64((2, 2), 0, 2, 1, 1), values=f32((2,), 0.5, 4.0))
    whole = [
        Leaf(
            p.path,
            "tensor",
            View.from_buffer(p.kept, p.dtype, p.shape).commit()[1],
            p.dtype,
            p.shape,
            kept=p.kept,
        )
        for p in parts
    ]
    return composite_leaf(path, "sparse_coo", "float32", (3, 2), whole, keep=True)


def safetensors(tensors: dict[str, View]) -> bytes:
    """A safetensors file."""
    header, data = {}, b""
    for name, value in tensors.items():
        content = value.tobytes()
        header[name] = {
            "dtype": _STORED[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def weights_lines(tensors: dict[str, View]) -> list[bytes]:
    """The lines of weights.jsonl."""
    return [
        canonical(
            {
                "digest": value.commit()[1].hex(),
                "dtype": value.dtype,
                "name": name,
                "shape": list(value.shape),
                "type": "tensor",
            }
        )
        for name, value in sorted(tensors.items())
    ]


def structure_lines(tensors: dict[str, View]) -> list[bytes]:
    """The lines of structure.jsonl of one linear layer with those weights."""
    linear = {
        "attributes": {"in_features": 3, "out_features": 3},
        "class": "torch.nn.modules.linear.Linear",
        "name": "",
        "type": "module",
        "unbound": [],
    }
    weights = {**tree_of(weights_lines(tensors)).to_json(), "type": "weights"}
    return [canonical(weights), canonical(linear)]


WEIGHTS = {
    "bias": f32((3,), 0.5, -0.5, 0.0),
    "weight": f32((3, 3), *(n / 8 for n in range(9))),
}
X = f32((2, 3), 1.0, -0.0, 0.5, 2.0, 0.25, 4.0)
Y = f32((2, 3), 0.0625, 1.5, 3.0, 1.03125, 2.5, 8.0)
