"""Row openings: one row of a record's input or output, proven to be what was signed.

One canonical JSON line with its LF:

    {"data":base64,"line":{…},"lineProof":[hex…],"number":n,"record":hex,"row":n|null,
     "rowProof":[hex…],"salt":hex,"tree":"inputs"|"outputs","type":"row-opening/1"}

It shows the row, and of everything beside it only hashes under salts that it does not hold.
docs/formats.md says what each member is.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

from .. import _core, merkle
from ..errors import MalformedProof, MalformedRecord, RootMismatch, UnsupportedTensor
from ..files import read_regular
from ..leaves import Leaf, encode_value
from .container import write_atomically
from .evidence import tensor_from, value_of
from .lines import MAX_FILE_BYTES, brief, canonical, parse_object
from .predicate import is_hex
from .values import leaf_lines

TYPE = "row-opening/1"
TREES = ("inputs", "outputs")
_MEMBERS = (
    "data",
    "line",
    "lineProof",
    "number",
    "record",
    "row",
    "rowProof",
    "salt",
    "tree",
    "type",
)
_ASK = "ask whoever made the record for the opening again"


@dataclass(frozen=True)
class RowOpening:
    """A row of an input or output with its proof; claimed until `verify` has seen the record.

    ``record`` is the record's id, ``tree`` is ``inputs`` or ``outputs``, ``line`` the leaf's line,
    ``number`` its place in the tree; ``row`` counts the rows that have digests of their own and is
    None where the leaf is committed whole. ``data`` are the row's data bytes, or the typed encoding
    of a plain value; ``salt`` has 32 bytes, and so has every hash of the proofs.
    """

    record: str
    tree: str
    number: int
    line: dict[str, Any]
    line_proof: tuple[bytes, ...]
    row: int | None
    row_proof: tuple[bytes, ...]
    salt: bytes
    data: bytes

    @classmethod
    def decode(cls, encoded: bytes) -> RowOpening:
        """The opening in its one encoding; raises MalformedProof where it is none."""
        if encoded[-1:] != b"\n":
            _refuse(f"it does not end with a newline at byte {len(encoded)}")
        try:
            value = parse_object(encoded[:-1], "it", _MEMBERS)
            _require(value["type"] == TYPE, f"unknown type {brief(value['type'], 40)}")
            leaf_lines([_leaf_object(value["line"])], "its line:")
        except MalformedRecord as error:
            _refuse(error.reason, error.expected, error.actual)
        return _decoded(value)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RowOpening:
        """The opening in a file. Raises OSError where it cannot be read and MalformedProof, naming
        the file, where it is none."""
        try:
            return cls.decode(read_regular(path, MAX_FILE_BYTES))
        except (MalformedProof, MalformedRecord) as error:
            reason = error.reason.removeprefix(f"{os.fspath(path)} ")
            raise MalformedProof(
                f"{os.fspath(path)}: {reason}",
                expected=error.expected,
                actual=error.actual,
                next_step=error.next_step or _ASK,
            ) from None

    def encode(self) -> bytes:
        """The line with its LF."""
        value = {
            "data": base64.b64encode(self.data).decode(),
            "line": self.line,
            "lineProof": [node.hex() for node in self.line_proof],
            "number": self.number,
            "record": self.record,
            "row": self.row,
            "rowProof": [node.hex() for node in self.row_proof],
            "salt": self.salt.hex(),
            "tree": self.tree,
            "type": TYPE,
        }
        return canonical(value) + b"\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the opening to a file, atomically."""
        encoded = self.encode()
        if len(encoded) > MAX_FILE_BYTES:
            _refuse(f"it has more than {MAX_FILE_BYTES} bytes", MAX_FILE_BYTES, len(encoded))
        write_atomically(path, encoded)

    @property
    def path(self) -> str:
        """Path of the leaf, such as ``output["logits"]``."""
        return self.line["path"]

    @property
    def rows(self) -> range:
        """What is opened of axis 0: more than one row where the axis is cut into runs (it has more
        than 4,096), none where the leaf is committed whole."""
        if self.row is None:
            return range(0)
        run, length = self.line["run"], self.line["shape"][0]
        return range(self.row * run, min((self.row + 1) * run, length))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of what is opened; None where it is no tensor."""
        if self.line["kind"] != "tensor":
            return None
        shape = self.line["shape"]
        if self.row is None:
            return tuple(shape)
        return tuple(shape[1:]) if self.line["run"] == 1 else (len(self.rows), *shape[1:])

    def verify(self, record: Any) -> Any:
        """The opened values, once they are proven to be those ``record`` (a `Record`) was signed
        over: a torch tensor (a NumPy array where torch is not installed) or the plain value.

        Whose record it is, and whether its signature holds, is for `torchnotary.verify` to say.
        Raises as `verify_bytes`, and `UnsupportedTensor` where the library lacks the dtype.
        """
        data = self.verify_bytes(record)
        if self.shape is not None:
            return tensor_from(data, self.line["dtype"], self.shape)
        return _plain_value(self.line["kind"], data)

    def verify_bytes(self, record: Any) -> bytes:
        """The data bytes of a tensor, or the typed encoding of a plain value, as `verify`.

        Raises `RootMismatch`, with both values, where the opening is of another record or does not
        lead to what it signed, and `MalformedProof` where sizes or proofs cannot be.
        """
        if record.id != self.record:
            _mismatch("the opening is of another record", record.id, self.record)
        signed = record.predicate[self.tree]
        if signed is None:
            _mismatch(f"the record has no {self.tree}", "a tree", None)
        leaf = merkle.leaf_hash(canonical(self.line))
        root = bytes.fromhex(signed["root"])
        merkle.verify_inclusion(self.number, signed["size"], leaf, self.line_proof, root)
        self._compare(_core.blake3(self.digest(), self.salt))
        return self.data

    def digest(self) -> bytes:
        """The unsalted digest (32 bytes) of the data; raises MalformedProof as `verify_bytes`."""
        if self.shape is None:
            _plain_value(self.line["kind"], self.data)
            return _core.value_digest(self.data)
        try:
            view = _core.View.from_buffer(self.data, self.line["dtype"], self.shape)
        except (UnsupportedTensor, OverflowError, RuntimeError, TypeError) as error:
            _refuse(f"its data are no {brief(self.line['dtype'], 40)}{list(self.shape)}: {error}")
        # A buffer may be longer than its tensor, and any byte but 0 is a true bool to a view.
        if view.tobytes() != self.data:
            _refuse("its data are longer than the row, or hold a bool that is neither 0 nor 1")
        return view.commit()[1]

    def _compare(self, salted: bytes) -> None:
        """Raises unless the salted digest is what the line commits to, at its row."""
        commitment = bytes.fromhex(self.line["commitment"])
        if self.row is not None:
            leaf = merkle.leaf_hash(salted)
            rows = self.line["rows"]
            merkle.verify_inclusion(self.row, rows, leaf, self.row_proof, commitment)
        elif salted != commitment:
            _mismatch("the value is not the signed one", commitment.hex(), salted.hex())


def _leaf_object(line: Any) -> dict[str, Any]:
    _require(type(line) is dict and line.get("type") == "leaf", "its line is no leaf")
    return line


def _decoded(value: dict[str, Any]) -> RowOpening:
    line, row = value["line"], value["row"]
    _require(line["kind"] != "unbound", "its line binds no value")
    _require("layout" not in line, "its line is of several components, which have no openings")
    _require(value["tree"] in TREES, "its tree is neither inputs nor outputs")
    _require(is_hex(value["record"], 32), "its record is no id of 64 hexadecimal digits")
    _require(is_hex(value["salt"], 32), "its salt is not 64 hexadecimal digits")
    _require(_is_count(value["number"]), "its number is none")
    _require(_is_count(row) if "run" in line else row is None, "its row is none of that leaf")
    row_proof = _hashes(value["rowProof"], "rowProof")
    _require(row is not None or not row_proof, "its rowProof proves no row")
    return RowOpening(
        record=value["record"],
        tree=value["tree"],
        number=value["number"],
        line=line,
        line_proof=_hashes(value["lineProof"], "lineProof"),
        row=row,
        row_proof=row_proof,
        salt=bytes.fromhex(value["salt"]),
        data=_from_base64(value["data"]),
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _hashes(values: Any, name: str) -> tuple[bytes, ...]:
    right = type(values) is list and all(is_hex(value, 32) for value in values)
    _require(right, f"its {name} is no list of hashes")
    return tuple(map(bytes.fromhex, values))


def _from_base64(text: Any) -> bytes:
    _require(type(text) is str, "its data are not base64")
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        _refuse("its data are not base64")
    _require(base64.b64encode(data).decode() == text, "its data have bits beyond their end")
    return data


def _plain_value(kind: str, encoded: bytes) -> Any:
    """The value of a typed encoding (docs/formats.md); MalformedProof for a second spelling."""
    try:
        value = _read_plain(kind, encoded[:1], encoded[1:])
    except (ValueError, struct.error) as error:
        _refuse(f"its data are no {kind}: {error}")
    if kind == "empty":
        _require(encoded[:1] == b"e", "its data are no empty value")
        return value_of(Leaf("", "empty", kept=value))
    _require(encode_value(value) == (kind, encoded), f"its data are no {kind} in its one encoding")
    return value


def _read_plain(kind: str, tag: bytes, rest: bytes) -> Any:
    if kind == "none":
        return None
    if kind == "bool":
        return rest == b"\x01"
    if kind == "int":
        return int(rest, 16 if tag == b"x" else 10)
    if kind == "float":
        return struct.unpack("<d", rest)[0]
    if kind == "bytes":
        return rest
    return rest.decode("utf-8", "surrogatepass")  # str, and the class of an empty value


def _require(condition: bool, cause: str) -> None:
    if not condition:
        _refuse(cause)


def _refuse(cause: str, expected: Any = None, actual: Any = None) -> NoReturn:
    raise MalformedProof(
        f"not a row opening: {cause}", expected=expected, actual=actual, next_step=_ASK
    )


def _mismatch(message: str, expected: Any, actual: Any) -> NoReturn:
    raise RootMismatch(message, expected=expected, actual=actual, next_step=_ASK)
