"""Valid records: what a strict verifier must still accept."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator
from typing import Any

from torchnotary.leaves import Leaf
from torchnotary.statement.evidence import TO_SAFETENSORS
from trace_reference import ReferenceTrace, number, operator
from trace_reference import tensor as traced

from .cases import Case, good
from .draft import EVERYTHING
from .edits import put
from .genuine import DIGESTS, FULL, INPUTS, LOGGED, MANIFEST, MODEL, MODELLED, OPEN, OUTPUTS, PLAIN
from .held import MONDAY
from .identities import OTHER_LOG, STRANGER, fixed
from .models import NAMED
from .values import (
    WEIGHTS,
    X,
    Y,
    f32,
    i64,
    in_calls,
    leaves,
    safetensors,
    sparse,
    tensor,
    unbound,
)
from .values_given import VALUES


def cases() -> Iterator[Case]:
    yield from _disclosed()
    yield from _logged()
    yield from _values()
    yield from _statements()
    yield from _groups()
    yield from _traces()
    yield from _compared()
    yield from _policies()


def _disclosed() -> Iterator[Case]:
    """Every combination of what a record may disclose, in a small record."""
    small = FULL.but(
        name="small",
        inputs=leaves(k=5),
        outputs=leaves(output=True),
        weights={"bias": WEIGHTS["bias"]},
        trace=ReferenceTrace([operator("aten::empty.memory_format", None, {"size": [2]}, [])]),
        index=0,
        size=1,
    )
    for count in range(len(EVERYTHING[:5]) + 1):
        for shown in itertools.combinations(EVERYTHING[:5], count):
            name = "-and-".join(shown) or "nothing"
            passes = ", ".join(tree for tree in shown if tree in ("inputs", "outputs"))
            yield good(
                f"disclosed-{name}",
                f"{', '.join(shown) or 'nothing'} disclosed",
                small.but(disclose=shown),
                passes,
            )
    for shown in (("inputs",), ("outputs",), ("inputs", "outputs")):
        yield good(
            f"values-of-{'-and-'.join(shown)}",
            f"{' and '.join(shown)} travel with values",
            OPEN.but(disclose=(*shown, "evidence")),
            ", ".join(shown),
        )
    yield good("everything", "everything disclosed, and the values", FULL, "inputs, outputs")


def _logged() -> Iterator[Case]:
    """Logs of many sizes, entries in many places."""
    for size, index in (
        (1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (4, 3), (5, 4), (8, 7),
        (16, 5), (17, 16), (33, 32), (64, 0), (64, 33), (64, 63),
    ):  # fmt: skip
        yield good(
            f"entry-{index}-of-{size}",
            f"entry {index} of {size}",
            PLAIN.but(name=f"entry {index} of {size}", index=index, size=size),
        )
    yield good(
        "another-log", "another log, whose key nobody has to know", LOGGED.but(log=OTHER_LOG)
    )
    yield good(
        "held-same-size",
        "the verifier holds the checkpoint of the record",
        LOGGED,
        "log consistency, witness",
        checkpoint=LOGGED.checkpoint(),
    )
    cosigned = LOGGED.checkpoint() + f"\N{EM DASH} witness.example/w1 {'A' * 100}AA==\n"
    yield good(
        "held-cosigned",
        "the verifier's checkpoint has a line by somebody it does not know",
        LOGGED,
        "log consistency, witness",
        checkpoint=cosigned,
    )
    yield good(
        "held-first-entry",
        "the verifier's checkpoint is of the record alone",
        PLAIN,
        "log consistency, witness",
        checkpoint=PLAIN.checkpoint(),
    )


def _values() -> Iterator[Case]:
    """Values that are unusual."""
    nan = tensor(
        "float32", (2, 2), struct.pack("<4I", 0x7FC00001, 0xFFC00000, 0x7F800001, 0x80000000)
    )
    values: dict[str, Any] = {
        "no-dimension": f32((), 1.5),
        "no-elements": f32((0,)),
        "no-rows": f32((0, 3)),
        "rows-of-nothing": f32((3, 0)),
        "nan-payloads": nan,
        "denormals": tensor("float32", (2, 1), struct.pack("<2I", 1, 0x80000001)),
        "infinities": f32((1, 2), float("inf"), float("-inf")),
        "five-dimensions": i64((2, 1, 1, 2, 1), 1, 2, 3, 4),
        "bool": tensor("bool", (2, 2), b"\0\1\1\0"),
        "bfloat16": tensor("bfloat16", (3,), b"\x80\x3f\x00\x40\xc0\x7f"),
        "float8": tensor("float8_e4m3fn", (4,), b"\x38\x40\x7f\xff"),
        "complex": tensor("complex64", (1, 1), struct.pack("<2f", 1.0, -0.0)),
        "bits": tensor("bits8", (2,), b"\xaa\x55"),
        "none": None,
        "text-unicode": "日本語 😀 e\u0301",
        "text-empty": "",
        "text-with-nul": "a\0b\n",
        "int-negative": -(2**53),
        "int-huge": 2**5000,
        "float-minus-zero": -0.0,
        "float-nan": struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0],
        "bytes": bytes(range(256)),
        "empty-list": [],
        "empty-mapping": {},
        "nested": {"a": [1, {"b": (None, "x")}], 7: 1.5, 'é " ]': b""},
        "many": list(range(7)),
    }
    for name, value in values.items():
        made = leaves(output=value)
        kept = ("evidence",) if all(_storable(leaf) for leaf in made) else ()
        yield good(
            f"value-{name}",
            f"an output: {name.replace('-', ' ')}",
            PLAIN.but(name=f"value {name}", outputs=made, disclose=("outputs", *kept)),
            "outputs",
        )
    yield good(
        "value-sparse",
        "an output: a sparse matrix",
        OPEN.but(name="value sparse", outputs=(sparse("output"),)),
        "outputs",
    )
    yield good(
        "value-unbound",
        "an output that no record binds, which nobody asked for",
        PLAIN.but(name="value unbound", outputs=(unbound("output"),)),
    )
    yield good(
        "value-nothing",
        "a call without arguments that returned nothing to commit to",
        PLAIN.but(name="value nothing", inputs=(), outputs=()),
    )
    long = tensor("uint8", (4097, 1), bytes(n % 251 for n in range(4097)))
    yield good(
        "value-of-4097-rows",
        "two rows share a digest",
        DIGESTS.but(name="long", disclose=(), outputs=leaves(output=long)),
    )


def _storable(leaf: Leaf) -> bool:
    return leaf.kind != "tensor" or leaf.dtype in TO_SAFETENSORS or leaf.dtype == "bits8"


def _statements() -> Iterator[Case]:
    def said(name: str, why: str, *path_and_value: Any, passes: str = "", **options: Any) -> Case:
        record = PLAIN.but(statement=put("predicate", *path_and_value))
        return good(name, why, record, passes, **options)

    yield said(
        "labels-unicode", "labels in other scripts", "record", "labels", {"who": "Žofie 日本"}
    )
    yield said(
        "nonce", "the nonce that was sent", "record", "nonce", MONDAY, passes="nonce", nonce=MONDAY
    )
    yield said("nonce-unasked", "a nonce of somebody else's", "record", "nonce", MONDAY)
    yield said(
        "nonce-upper-case",
        "the nonce, as its sender spells it",
        "record",
        "nonce",
        "abcd",
        passes="nonce",
        nonce="ABCD",
    )
    yield said(
        "nonce-long",
        "a nonce of 1,000 bytes",
        "record",
        "nonce",
        "5a" * 1000,
        passes="nonce",
        nonce="5a" * 1000,
    )
    yield said(
        "raised",
        "a call that raised",
        "execution",
        "outcome",
        {"exception": "ValueError", "status": "raised"},
    )
    yield said("missed", "calls before it were not recorded", "record", "missed", 3)
    yield said(
        "previous", "not the first of its stream", "record", "previous", fixed("previous").hex()
    )
    yield said("rank-of-world", "one of eight processes", "record", "world_size", 8)
    yield said(
        "environment", "variables in other scripts", "execution", "environment", {"LANG": "čeština"}
    )


def _groups() -> Iterator[Case]:
    call = leaves(x=X, k=5), leaves(output=Y)
    group = OPEN.but(
        name="group",
        inputs=in_calls(call[0], call[0]),
        outputs=in_calls(call[1], call[1]),
        record={"calls": 2},
    )
    yield good("group", "two calls in one record", group, "inputs, outputs")
    yield good("group-closed", "two calls, nothing disclosed", group.but(disclose=()))
    yield good(
        "group-of-one",
        "one call in the record of a group",
        OPEN.but(
            name="group of one",
            inputs=in_calls(call[0]),
            outputs=in_calls(call[1]),
            record={"calls": 1},
        ),
        "inputs, outputs",
    )


def _traces() -> Iterator[Case]:
    view = {"offset": 3, "strides": [3, 1]}
    made = {"line": 0, "output": 0}
    part = f32((1, 3), 2.0, 0.25, 4.0)
    lines = {
        "of-an-operator-that-raised": [
            operator("aten::linear", "", {"input": traced(X, {"input": "x"})}, None)
        ],
        "without-tensors": [operator("aten::empty.memory_format", None, {"size": [2]}, [])],
        "of-a-view": [
            operator("aten::relu", "", {"self": traced(X, {"input": "x"})}, [traced(X)]),
            operator(
                "aten::neg",
                "",
                {"self": {**traced(X, made, view=view), "shape": [1, 3]}},
                [traced(part)],
            ),
        ],
        "of-numbers": [
            operator(
                "aten::add.Tensor",
                "",
                {"alpha": number(0.5), "n": {"int": str(2**60)}, "self": traced(X, {"input": "x"})},
                [traced(X)],
            )
        ],
        "of-modules": [
            {
                "class": "pkg.Net",
                "module": "a",
                "type": "module",
                "outputs": [{**traced(Y), "kind": "tensor", "path": "output"}],
            }
        ],
    }
    for name, values in lines.items():
        trace = ReferenceTrace(values, fixed(f"secret of {name}"))
        yield good(
            f"trace-{name}",
            f"a trace {name.replace('-', ' ')}",
            PLAIN.but(name=f"trace {name}", trace=trace, disclose=("trace",)),
        )


def _compared() -> Iterator[Case]:
    prefixed = {f"model.{name}": value for name, value in WEIGHTS.items()}
    yield good(
        "inputs-given",
        "the recorded inputs",
        DIGESTS.but(name="one input", inputs=leaves(x=X)),
        "inputs",
        inputs=INPUTS,
    )
    yield good("outputs-given", "the recorded output", DIGESTS, "outputs", outputs=OUTPUTS)
    plain = DIGESTS.but(name="plain values", inputs=leaves(**VALUES))
    yield good(
        "inputs-given-plain",
        "the recorded plain values",
        plain,
        "inputs",
        inputs=json.dumps(VALUES),
    )
    yield good(
        "inputs-given-in-order",
        "the recorded values, in the order of the arguments",
        plain,
        "inputs",
        inputs=json.dumps(list(VALUES.values())),
    )
    yield good("model-given", "the recorded weights", MODELLED, "weights", model=MODEL)
    yield good(
        "model-given-undisclosed",
        "the recorded weights, whose names do not travel",
        NAMED.but(disclose=()),
        "weights",
        model=MODEL,
    )
    yield good(
        "model-given-prefixed",
        "the recorded weights, under one prefix",
        NAMED,
        "weights",
        model=safetensors(prefixed),
    )
    yield good(
        "manifest-given",
        "a saved manifest of the recorded model",
        MODELLED,
        "weights, structure",
        model=MANIFEST,
    )


def _policies() -> Iterator[Case]:
    mine = f'signers = ["signer.pem"]\norigins = ["{LOGGED.origin}"]\n'
    yield good("policy", "a policy that names signer and log", LOGGED, policy=mine, signer=None)
    yield good(
        "policy-required",
        "a policy whose required steps pass",
        OPEN,
        "inputs, outputs",
        policy='required = ["signer", "log inclusion", "inputs", "outputs"]\n',
    )
    yield good("policy-empty", "a policy that asks for nothing", PLAIN, policy="")
    both = f'signers = ["{STRANGER.public.fingerprint}", "signer.pem"]\n'
    yield good(
        "policy-of-two-signers", "a policy that names two signers", PLAIN, policy=both, signer=None
    )
