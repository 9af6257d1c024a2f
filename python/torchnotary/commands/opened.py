"""What checking an opening found: how far it is proven, and the values it then shows."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NotaryError
from ..files import open_regular, read_regular
from ..indexing import index_text
from ..keys import short
from ..manifest import WEIGHTS, parse_weights
from ..opening import Opening
from ..statement.container import write_atomically
from ..statement.evidence import TO_SAFETENSORS, tensor_from
from ..statement.lines import MAX_FILE_BYTES, parse
from ..statement.record import Record
from ..statement.row_opening import RowOpening
from ..verifier.verdict import INCONCLUSIVE, VALID, Verdict
from .output import UsageProblem


@dataclass(frozen=True)
class Found:
    """The outcome of a check: ``facts`` are what the opening says of itself, ``data`` the bytes of
    a proven tensor, of ``dtype`` and ``shape``; None where nothing is proven or it is no tensor."""

    headline: str
    exit_code: int
    facts: dict[str, Any]
    next_steps: list[str] = field(default_factory=list)
    data: bytes | None = None
    dtype: str | None = None
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        lines = [f"{name:<9}{_in_words(value)}" for name, value in self.facts.items()]
        return "\n".join([f"{self.headline} (exit {self.exit_code})", *lines])

    def to_json(self) -> dict[str, Any]:
        """The outcome as one JSON document, type ``opening-check/1``."""
        return {
            **self.facts,
            "exit_code": self.exit_code,
            "headline": self.headline,
            "next": self.next_steps,
            "type": "opening-check/1",
        }


def load_opening(path: Path) -> Opening | RowOpening:
    """The opening in a file: that of a row is a line of JSON."""
    with open_regular(path) as stream:
        first = stream.read(1)
    return RowOpening.load(path) if first == b"{" else Opening.load(path)


def check_tensor(opening: Opening, digest: str | None, verdict: Verdict | None) -> Found:
    """An opening of a weight against a digest, which a record with that verdict may have given.

    Raises `RootMismatch` where the opening is not of that tensor or contradicts itself.
    """
    data = opening.verify_bytes(digest if digest is not None else opening.digest)
    facts = {
        "tensor": f"{opening.dtype}{list(opening.shape)}",
        "digest": opening.digest,
        "index": index_text(opening.index),
        "values": f"{opening.dtype}{list(opening.selected_shape)}",
    }
    if digest is None:
        step = "--commitment HEX, or --manifest FOLDER --tensor NAME"
        headline = "NOT CHECKED: there is nothing to compare its digest with"
        return Found(headline, INCONCLUSIVE, facts, [step])
    what = "these values are the committed tensor's"
    return _judged(what, verdict, facts, data, opening.dtype, opening.selected_shape)


def check_row(opening: RowOpening, record: Record | None, verdict: Verdict | None) -> Found:
    """A row opening against its record, whose verdict is not invalid; raises as `verify_bytes`."""
    facts: dict[str, Any] = {"record": opening.record, "tree": opening.tree, "path": opening.path}
    if opening.row is not None:
        facts["rows"] = f"{opening.rows.start}:{opening.rows.stop}"
    kind = opening.line["kind"]
    facts["values"] = kind
    if opening.shape is not None:
        facts["values"] = f"{opening.line['dtype']}{list(opening.shape)}"
    if record is None or verdict is None:
        headline = "NOT CHECKED: there is no record to compare it with"
        return Found(
            headline, INCONCLUSIVE, facts, [f"--record {opening.record[:16]}, or its file"]
        )
    what = "these values are those that the record was signed over"
    if opening.shape is not None:
        data = opening.verify_bytes(record)
        return _judged(what, verdict, facts, data, opening.line["dtype"], opening.shape)
    facts["value"] = repr(opening.verify(record))
    return _judged(what, verdict, facts)


def _judged(
    what: str,
    verdict: Verdict | None,
    facts: dict[str, Any],
    data: bytes | None = None,
    dtype: str | None = None,
    shape: tuple[int, ...] = (),
) -> Found:
    """Proven, as far as the record is that the proof leads to."""
    if verdict is None or verdict.ok:
        return Found(f"PROVEN: {what}", VALID, _signed(facts, verdict), [], data, dtype, shape)
    headline = f"UNKNOWN SIGNER: {what}, but not by a key you trust"
    step = "get their key another way, then torchnotary keys trust KEY"
    code = verdict.exit_code
    return Found(headline, code, _signed(facts, verdict), [step], data, dtype, shape)


def _signed(facts: dict[str, Any], verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None or verdict.signer is None:
        return facts
    return {**facts, "signer": short(verdict.signer)}


def digest_in_manifest(path: Path, name: str) -> str:
    """The digest that a weights.jsonl, or the one in a folder, has for a tensor."""
    file = path / WEIGHTS if path.is_dir() else path
    return _digest_in(parse_weights(read_regular(file, MAX_FILE_BYTES), str(file)), name, str(file))


def digest_in_record(record: Record, name: str) -> str:
    """The digest that the disclosed weights of a record have for a tensor."""
    data = record.file(WEIGHTS)
    if data is None:
        raise NotaryError(
            "the record's weights are not disclosed",
            next_step="ask its maker for a copy: torchnotary save ID -o FILE --disclose weights",
        )
    return _digest_in(parse_weights(data), name, WEIGHTS)


def _digest_in(lines: list[bytes], name: str, where: str) -> str:
    for line in map(parse, lines):
        if line["name"] == name:
            return line["digest"]
    raise UsageProblem(f"{where} has no tensor {name}", f"choose one of the names in {where}")


def write_values(path: Path, found: Found) -> None:
    """The proven values as a .safetensors file (their name there is ``values``) or a .npy file."""
    if path.suffix == ".safetensors":
        write_atomically(path, _safetensors(found))
        return
    import io

    import numpy

    if not hasattr(numpy, found.dtype) and found.dtype != "bool":
        raise UsageProblem(
            f"NumPy has no {found.dtype}", f"name it .safetensors: {path.stem}.safetensors"
        )
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.asarray(tensor_from(found.data, found.dtype, found.shape)))
    write_atomically(path, buffer.getvalue())


def require_suffix(path: Path | None) -> None:
    """Raises UsageProblem unless values can be written to a file of that kind."""
    if path is not None and path.suffix not in (".safetensors", ".npy"):
        raise UsageProblem(f"{path} is of an unknown kind", "name it .safetensors or .npy")


def _safetensors(found: Found) -> bytes:
    size = len(found.data)
    name = TO_SAFETENSORS.get(found.dtype)
    shape = list(found.shape) if name else [size]
    entry = {"dtype": name or "U8", "shape": shape, "data_offsets": [0, size]}
    metadata = {"dtype": found.dtype, "shape": json.dumps(list(found.shape))}
    text = json.dumps({"__metadata__": metadata, "values": entry}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + found.data


def _in_words(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
