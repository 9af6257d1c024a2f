"""Models the verifier gives for comparison that are not the recorded one."""

from __future__ import annotations

from collections.abc import Iterator

from torchnotary.statement.lines import canonical, parse

from .cases import Beside, Case, bad, unproven
from .draft import Draft
from .genuine import MODEL, MODELLED, PLAIN
from .values import WEIGHTS, f32, safetensors, structure_lines, tensor, weights_lines

# The same model, nothing disclosed; and one that names its tensors.
CLOSED = MODELLED.but(name="model", disclose=())
NAMED = CLOSED.but(name="named model", disclose=("weights",))


def cases() -> Iterator[Case]:
    data = WEIGHTS["weight"].tobytes()
    bit = tensor("float32", (3, 3), bytes([data[0] ^ 1]) + data[1:])
    for name, why, tensors in (
        ("bit", "one bit of a weight", {**WEIGHTS, "weight": bit}),
        ("bias-zero", "another bias", {**WEIGHTS, "bias": f32((3,), 0.0, 0.0, 0.0)}),
        ("tensor-missing", "a tensor is missing", {"weight": WEIGHTS["weight"]}),
        ("shape", "the same bytes in another shape",
         {**WEIGHTS, "weight": tensor("float32", (9,), data)}),
        ("dtype", "the same bytes as another dtype",
         {**WEIGHTS, "weight": tensor("int32", (3, 3), data)}),
        ("transposed", "a matrix transposed",
         {**WEIGHTS, "weight": f32((3, 3), *(n / 8 for n in (0, 3, 6, 1, 4, 7, 2, 5, 8)))}),
        ("empty-tensor", "a tensor of no elements", {**WEIGHTS, "bias": f32((0,))}),
    ):  # fmt: skip
        yield _given(name, "weights", why, safetensors(tensors), NAMED)
        if name in ("bit", "bias-zero", "dtype"):
            yield _given(
                f"{name}-undisclosed",
                "weights",
                f"{why}; its names do not travel",
                safetensors(tensors),
                CLOSED,
            )
    yield _given(
        "structure-changed", "structure", "a module of other sizes", _manifest("in_features", 4)
    )
    yield _given(
        "attribute-added", "structure", "a module with one attribute more", _manifest("eps", 1)
    )
    shuffled = {"bias2": WEIGHTS["bias"], "weight": WEIGHTS["weight"]}
    more = {**WEIGHTS, "second.weight": WEIGHTS["weight"]}
    for name, why, tensors in (
        ("renamed", "the same tensors under names that follow no rule", shuffled),
        ("larger", "the same tensors and one more", more),
    ):
        yield unproven(f"model-given-{name}", "weights", why, NAMED, model=safetensors(tensors))
    yield unproven(
        "model-given-to-a-function",
        "weights",
        "a model for a record that has none",
        PLAIN,
        model=MODEL,
    )
    yield unproven(
        "structure-of-a-file",
        "structure",
        "a file of weights has no structure",
        CLOSED,
        model=MODEL,
        policy='required = ["structure"]\n',
    )


def _given(name: str, step: str, why: str, model: bytes | Beside, record: Draft = CLOSED) -> Case:
    return bad(f"model-given-{name}", step, f"the given model: {why}", record, model=model)


def _manifest(attribute: str, value: int) -> Beside:
    """A saved manifest of the same weights in another module."""
    first, linear = structure_lines(WEIGHTS)
    module = parse(linear)
    module["attributes"][attribute] = value
    files = {"weights": weights_lines(WEIGHTS), "structure": [first, canonical(module)]}
    content = {f"{name}.jsonl": b"\n".join(lines) + b"\n" for name, lines in files.items()}
    return Beside(f"manifest-{attribute}", content)
