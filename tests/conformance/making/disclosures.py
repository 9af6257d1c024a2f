"""Line files that travel: changed on the way, or signed although no record has such lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchnotary.statement.lines import canonical, parse

from .cases import Case, bad, unproven
from .draft import Draft
from .edits import Edit, at, drop, exchange, instead, line, put, repeat
from .genuine import DIGESTS, FULL, MODELLED, OTHER, PLAIN
from .values import X, Y, leaves, unbound

TWO = DIGESTS.but(name="two outputs", outputs=leaves(output=[Y, X, 5]))

SHOWN = TWO.but(disclose=("outputs",))


def cases() -> Iterator[Case]:
    yield from _changed()
    yield from _signed()
    yield from _models()
    yield from _together()


def _changed() -> Iterator[Case]:
    """Changed on the way: the SHA-256 that was signed is another."""
    for name, why, edit in (
        ("truncated", "the last line is missing", line(2, lambda text: None)),
        ("truncated-in-a-line", "cut off in a line", lambda data: data[:-20]),
        ("without-final-newline", "the last line end is missing", lambda data: data[:-1]),
        ("reordered", "two lines in each other's place", exchange(0, 1)),
        ("duplicated-line", "a line twice", repeat(1)),
        ("empty-line", "an empty line after the last", lambda data: data + b"\n"),
        ("carriage-returns", "lines end in CR LF", lambda data: data.replace(b"\n", b"\r\n")),
        ("bit-flipped", "one bit of a commitment", instead(b'"kind":"int"', b'"kind":"int" ')),
        ("of-another-record", "the file of another record",
         lambda data: OTHER.files["outputs.jsonl"]),
        ("path-changed", "a value has another path", instead(b"output[2]", b"output[3]")),
        ("dtype-changed", "float32 is called int32",
         line(0, lambda text: text.replace(b"float32", b"int32"))),
        ("shape-changed", "the same elements in another shape",
         line(0, lambda text: text.replace(b'"shape":[2,3]', b'"shape":[2,4]'))),
    ):  # fmt: skip
        yield bad(f"lines-{name}", "outputs", why, SHOWN.but(members=at("outputs.jsonl", edit)))


def _signed() -> Iterator[Case]:
    """Signed as they are: nothing but the rules of the format refuses them."""

    def member(*path_and_value: Any) -> Edit:
        return line(0, json_line(put(*path_and_value)))

    for name, why, edit in (
        ("without-final-newline", "the last line end is missing", lambda data: data[:-1]),
        ("carriage-returns", "lines end in CR LF", lambda data: data.replace(b"\n", b"\r\n")),
        ("empty-line", "an empty line", lambda data: data + b"\n"),
        ("path-repeated", "two values of one path", line(1, json_line(put("path", "output[0]")))),
        ("type-unknown", "a line of an unknown type", member("type", "leaf/2")),
        ("kind-unknown", "a value of an unknown kind", line(2, json_line(put("kind", "decimal")))),
        ("commitment-missing", "a value nothing commits to",
         line(2, json_line(drop("commitment")))),
        ("commitment-upper-case", "a second spelling of a commitment",
         line(0, json_line(at("commitment", str.upper)))),
        ("member-added", "a member the format does not have", member("comment", "")),
        ("rows-wrong", "another number of rows than the shape gives", member("rows", 3)),
        ("rows-missing", "a matrix that does not say how many rows it has",
         line(0, json_line(drop("rows")))),
        ("run-wrong", "rows cut in another way than the shape gives", member("run", 2)),
        ("rows-of-a-plain-value", "a number with rows", line(2, json_line(put("rows", 1)))),
        ("shape-negative", "a negative size", member("shape", [-2, 3])),
        ("layout-unknown", "a layout no tensor has", member("layout", "strided")),
    ):  # fmt: skip

        def change(files: dict[str, bytes], edit: Edit = edit) -> None:
            files["outputs.jsonl"] = edit(files["outputs.jsonl"])

        yield bad(f"signed-lines-{name}", "outputs", why, SHOWN.but(files=change))


def _models() -> Iterator[Case]:
    def signed(name: str, edit: Edit) -> Draft:
        return MODELLED.but(files=at(f"{name}.jsonl", edit), disclose=(name,))

    def changed(name: str, edit: Edit) -> Draft:
        return MODELLED.but(members=at(f"{name}.jsonl", edit))

    for name, why, edit in (
        ("reordered", "the tensors are not sorted by name", exchange(0, 1)),
        ("name-repeated", "two tensors of one name", line(0, json_line(put("name", "weight")))),
        (
            "digest-altered",
            "a tensor has another digest",
            line(0, json_line(put("digest", "00" * 32))),
        ),
        ("line-missing", "a tensor is missing", line(1, lambda text: None)),
    ):
        yield bad(f"weights-{name}", "weights", why, changed("weights", edit))
        if name in ("reordered", "name-repeated"):
            yield bad(
                f"signed-weights-{name}", "weights", f"{why}, signed so", signed("weights", edit)
            )
    for name, why, edit in (
        ("digest-short", "half of a digest", line(0, json_line(put("digest", "00" * 16)))),
        ("type-unknown", "a line that is no tensor", line(0, json_line(put("type", "parameter")))),
        ("shape-negative", "a negative size", line(0, json_line(put("shape", [-3])))),
        ("member-added", "a member the format does not have", line(0, json_line(put("sha1", "")))),
        ("without-final-newline", "the last line end is missing", lambda data: data[:-1]),
    ):
        yield bad(f"signed-weights-{name}", "weights", why, signed("weights", edit))
    for name, why, edit in (
        ("attribute-changed", "a size in a module's attributes",
         line(1, json_line(put("attributes", "in_features", 4)))),
        ("class-changed", "a module of another class",
         line(1, json_line(put("class", "torch.nn.modules.linear.Identity")))),
        ("line-missing", "a module is missing", line(1, lambda text: None)),
    ):  # fmt: skip
        yield bad(f"structure-{name}", "structure", why, changed("structure", edit))
    for name, why, edit in (
        ("reordered", "the root of the weights is not the first line", exchange(0, 1)),
        ("weights-twice", "two roots of weights", repeat(0)),
        ("attribute-float", "an attribute in no encoding the format has",
         line(1, json_line(put("attributes", "eps", {"f32": "0"})))),
        ("of-other-weights", "the root of other weights",
         line(0, json_line(put("root", "00" * 32)))),
        ("unbound-unsorted", "what is not seen is not sorted",
         line(1, json_line(put("unbound", ["b", "a"])))),
    ):  # fmt: skip
        yield bad(f"signed-structure-{name}", "structure", why, signed("structure", edit))


def _together() -> Iterator[Case]:
    """Files that do not go together."""
    yield bad(
        "lines-unsigned-file",
        "format",
        "a trace travels that the statement does not speak of",
        DIGESTS.but(members=put("trace.jsonl", FULL.files["trace.jsonl"])),
    )
    yield bad(
        "lines-unsigned-inputs",
        "format",
        "inputs travel that the statement does not speak of",
        PLAIN.but(members=put("inputs.jsonl", DIGESTS.files["inputs.jsonl"])),
    )
    yield bad(
        "lines-of-inputs-and-outputs-exchanged",
        "inputs, outputs",
        "the two files under each other's name",
        DIGESTS.but(members=_exchanged),
    )
    yield unproven(
        "outputs-not-disclosed",
        "outputs",
        "the policy wants the outputs, which do not travel",
        PLAIN,
        policy='required = ["outputs"]\n',
    )
    handle = PLAIN.but(name="handle", outputs=(unbound("output"),), disclose=("outputs",))
    yield unproven(
        "outputs-unbound",
        "outputs",
        "the policy wants the outputs, which no record binds",
        handle,
        policy='required = ["outputs"]\n',
    )


def _exchanged(members: dict[str, bytes]) -> dict[str, bytes]:
    names = {"inputs.jsonl": "outputs.jsonl", "outputs.jsonl": "inputs.jsonl"}
    return {names.get(name, name): data for name, data in members.items()}


def json_line(edit: Edit) -> Edit:
    """Edits the JSON value of a line."""

    def change(text: bytes) -> bytes:
        value = parse(text)
        edit(value)
        return canonical(value)

    return change
