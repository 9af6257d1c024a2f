"""Values the verifier gives for comparison that are not the recorded ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from torchnotary._core import View

from .cases import Case, bad, unproven
from .genuine import CALL, DIGESTS, INPUTS, OUTPUTS, PLAIN
from .values import X, Y, f32, i64, leaves, safetensors, tensor

RETURNED = DIGESTS.but(disclose=("outputs",))
PASSED = DIGESTS.but(disclose=("inputs",))
VALUES = {"x": [1, 2, 3], "scale": 2.5, "name": "café", "flag": True, "none": None}


def cases() -> Iterator[Case]:
    yield from _outputs()
    yield from _inputs()
    yield from _not_comparable()


def _outputs() -> Iterator[Case]:
    data = Y.tobytes()
    column = f32((2, 3), 0.0625, 1.5, 3.0, 1.03125, 2.5, 16.0)
    for name, why, given in (
        ("bit", "one bit", _tensor(data[:4] + bytes([data[4] ^ 1]) + data[5:])),
        ("rows-exchanged", "two rows in each other's place", _tensor(data[12:] + data[:12])),
        ("one-element", "one element", column),
        ("transposed", "the transposed matrix", _tensor(data, (3, 2))),
        ("flattened", "the same elements in one dimension", _tensor(data, (6,))),
        ("row-added", "one row more", _tensor(data + data[:12], (3, 3))),
        ("as-int32", "the same bytes as another dtype", _tensor(data, dtype="int32")),
        ("as-float64", "the same numbers in another dtype",
         tensor("float64", (2, 3), struct.pack("<6d", 0.0625, 1.5, 3.0, 1.03125, 2.5, 8.0))),
        ("negative-zero", "-0.0 is not 0.0", f32((2, 3), -0.0, 1.5, 3.0, 1.03125, 2.5, 8.0)),
    ):  # fmt: skip
        content = safetensors({"output": given})
        yield bad(
            f"outputs-given-{name}",
            "outputs",
            f"the given output: {why}",
            RETURNED,
            outputs=content,
        )
    yield bad(
        "outputs-given-under-another-name",
        "outputs",
        "two outputs where one was recorded",
        RETURNED,
        outputs=safetensors({"output": Y, "second": Y}),
    )


def _inputs() -> Iterator[Case]:
    plain = PASSED.but(name="plain values", inputs=leaves(**VALUES))
    for name, why, change in (
        ("int-for-float", "2 is not 2.5", {"scale": 2}),
        ("float-for-int", "2.0 is not 2", {"x": [1, 2.0, 3]}),
        ("bool-for-int", "true is not 1", {"x": [True, 2, 3]}),
        ("int-for-bool", "1 is not true", {"flag": 1}),
        ("text-for-int", '"2" is not 2', {"x": [1, "2", 3]}),
        ("order", "a list in another order", {"x": [3, 2, 1]}),
        ("item-added", "a list gone on", {"x": [1, 2, 3, 4]}),
        ("text-denormalised", "the same letters in another normal form", {"name": "cafe\u0301"}),
        ("argument-added", "an argument that was not recorded", {"extra": 1}),
    ):
        given = json.dumps({**VALUES, **change})
        yield bad(f"inputs-given-{name}", "inputs", f"the given inputs: {why}", plain, inputs=given)
    two = PASSED.but(name="two tensors", inputs=leaves(a=X, b=Y))
    for name, why, given in (
        ("tensors-exchanged", "two tensors under each other's name", {"a": Y, "b": X}),
        ("tensor-twice", "one tensor twice", {"a": X, "b": X}),
        (
            "ids-as-floats",
            "integers where floats were recorded",
            {"a": i64((2, 3), *range(6)), "b": Y},
        ),
    ):
        yield bad(
            f"inputs-given-{name}",
            "inputs",
            f"the given inputs: {why}",
            two,
            inputs=safetensors(given),
        )


def _not_comparable() -> Iterator[Case]:
    yield unproven(
        "inputs-given-and-not-disclosed",
        "inputs",
        "nothing to compare with: the digests do not travel",
        CALL,
        inputs=INPUTS,
    )
    yield unproven(
        "outputs-given-and-not-disclosed",
        "outputs",
        "nothing to compare with: the digests do not travel",
        PLAIN,
        outputs=OUTPUTS,
    )
    yield unproven(
        "inputs-given-in-part", "inputs", "one argument of two was given", DIGESTS, inputs=INPUTS
    )


def _tensor(data: bytes, shape: tuple[int, ...] = (2, 3), dtype: str = "float32") -> Any:
    return View.from_buffer(data, dtype, shape)
