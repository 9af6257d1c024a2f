"""Canonical JSON lines: the one encoding every statement, leaf and line file of torchnotary has.

Values are strings, booleans, null, arrays, objects with ASCII keys and integers within
±(2^53 − 1), encoded as RFC 8785 says; larger integers and floats travel as tagged strings
(``number``). A reader encodes what it parsed again and requires the same bytes, so nothing
that two parsers could read differently gets through.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import merkle
from .._core import fits_a_line
from ..errors import MalformedRecord

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64
MAX_FILE_BYTES = 256 * 2**20
MAX_LINES = 2**24

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode
_SURROGATE = "a string holds half of a surrogate pair, so it is not text"
_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_DECIMAL = re.compile(r"-?[1-9][0-9]{0,4095}")


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of ``value``; MalformedRecord names what has no place in a line."""
    try:
        if not fits_a_line(value, MAX_DEPTH):
            _refuse(value, MAX_DEPTH)
        return _encode(value)
    except _Refused as refused:
        raise MalformedRecord(f"{refused.cause} at {refused.where()}") from None
    except UnicodeEncodeError:
        raise MalformedRecord(_SURROGATE) from None


def parse(line: bytes) -> Any:
    """The value of one canonical line; MalformedRecord names why it is not one, and where."""
    try:
        value = _decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedRecord(_why_not_json(line, error)) from None
    encoded = canonical(value)
    if encoded != line:
        raise MalformedRecord(_why_not_canonical(bytes(line), encoded))
    return value


def parse_object(line: bytes, what: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """``parse`` for an object; with ``keys`` it must have exactly those."""
    value = parse(line)
    return require_object(value, what, keys)


def require_object(value: Any, what: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """``value`` if it is an object (with exactly ``keys``), else MalformedRecord naming them."""
    if type(value) is not dict:
        raise MalformedRecord(f"{what} is not a JSON object", actual=type(value).__name__)
    if keys is not None and value.keys() != set(keys):
        raise MalformedRecord(
            f"{what} has other members than its format",
            expected=sorted(keys),
            actual=brief(sorted(value)),
        )
    return value


def brief(value: Any, limit: int = 100) -> str:
    """``value`` as an error message may show it: what a stranger wrote can be megabytes long."""
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def number(value: int | float) -> int | dict[str, str]:
    """The JSON form of a number: floats and integers beyond ±(2^53 − 1) become tagged strings."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedRecord("only an int or a float is a number", actual=type(value).__name__)
    if isinstance(value, float):
        return {"f64": struct.pack(">d", value).hex()}
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return int(value)
    if value.bit_length() > 13_600:
        raise MalformedRecord(f"an integer of {value.bit_length()} bits has more than 4,096 digits")
    return {"int": str(int(value))}


def from_number(value: Any) -> int | float:
    """The number a JSON form stands for; a second spelling of a number is MalformedRecord."""
    if type(value) is int:
        return value
    if type(value) is dict and len(value) == 1:
        tag, text = next(iter(value.items()))
        if tag == "f64" and type(text) is str and _HEX16.fullmatch(text):
            return struct.unpack(">d", bytes.fromhex(text))[0]
        if tag == "int" and type(text) is str and _DECIMAL.fullmatch(text):
            parsed = int(text)
            if abs(parsed) > MAX_INTEGER:
                return parsed
    raise MalformedRecord(
        "not a number",
        expected='an integer, {"int":…} beyond 2^53 or {"f64":…}',
        actual=brief(value),
    )


def encode_file(lines: Sequence[bytes]) -> bytes:
    """A line file: every line followed by 0A. An empty tree is left out, so none is encoded."""
    if not lines:
        raise MalformedRecord("a line file without lines", next_step="leave the file out")
    for index, line in enumerate(lines):
        if b"\n" in line:
            raise MalformedRecord(f"line {index + 1} holds a newline")
    return b"\n".join(lines) + b"\n"


def parse_file(
    data: bytes,
    *,
    name: str = "line file",
    sorted_by: str | None = None,
    max_lines: int = MAX_LINES,
) -> list[bytes]:
    """The lines of a line file without their newlines, each checked; see ``scan_file``."""
    return [
        line for line, _ in scan_file(data, name=name, sorted_by=sorted_by, max_lines=max_lines)
    ]


def scan_file(
    data: bytes,
    *,
    name: str = "line file",
    sorted_by: str | None = None,
    max_lines: int = MAX_LINES,
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Every line of a line file with the object it holds.

    Each line is canonical and has a ``type``; the file ends with 0A and is split at 0A only.
    With ``sorted_by``, lines of one type stand together, ascending by the UTF-8 bytes of that
    member where they have it, and a repeated (type, member) is MalformedRecord.
    """
    if len(data) > MAX_FILE_BYTES:
        raise MalformedRecord(f"{name} is too large", expected=MAX_FILE_BYTES, actual=len(data))
    if not data:
        raise MalformedRecord(f"{name} is empty", next_step="an empty file is left out")
    if data[-1] != 0x0A:
        raise MalformedRecord(f"{name} does not end with a newline, so it may be cut short")
    count = data.count(b"\n")
    if count > max_lines:
        raise MalformedRecord(f"{name} has too many lines", expected=max_lines, actual=count)
    order = _Order(name, sorted_by) if sorted_by else None
    for index, line in enumerate(data[:-1].split(b"\n"), start=1):
        try:
            value = parse_object(line, "the line")
            if type(value.get("type")) is not str:
                raise MalformedRecord("the line has no type")
        except MalformedRecord as error:
            raise MalformedRecord(
                f"{name} line {index}: {error.reason}", expected=error.expected, actual=error.actual
            ) from None
        if order:
            order.next(index, value)
        yield line, value


class _Order:
    """Refuses lines that are out of order or repeated, in one pass over a sorted file."""

    def __init__(self, name: str, member: str) -> None:
        self._name, self._member = name, member
        self._type: str | None = None
        self._seen: set[str] = set()
        self._last: str | None = None

    def next(self, index: int, value: dict[str, Any]) -> None:
        kind, key = value["type"], value.get(self._member)
        if kind != self._type:
            if kind in self._seen:
                raise MalformedRecord(
                    f"{self._name} line {index}: lines of type {brief(kind)} do not stand together"
                )
            self._seen.add(kind)
            self._type, self._last = kind, None
        if key is None:
            return
        if type(key) is not str:
            raise MalformedRecord(f"{self._name} line {index}: {self._member} is not a string")
        # Code point order is UTF-8 byte order, because no surrogate gets this far.
        if self._last is not None and key <= self._last:
            fault = "repeats" if key == self._last else "is not sorted after"
            raise MalformedRecord(
                f"{self._name} line {index}: {brief(kind)} {brief(key)} {fault} {brief(self._last)}"
            )
        self._last = key


@dataclass(frozen=True)
class Tree:
    """An RFC 9162 root (hex) and the number of lines it was made from; neither travels alone."""

    root: str
    size: int

    def to_json(self) -> dict[str, Any]:
        return {"root": self.root, "size": self.size}

    @classmethod
    def from_json(cls, value: Any, what: str = "tree") -> Tree:
        require_object(value, what, ("root", "size"))
        root, size = value["root"], value["size"]
        if type(root) is not str or not _HEX64.fullmatch(root):
            raise MalformedRecord(f"the root of {what} is not 64 hex digits", actual=brief(root))
        if type(size) is not int or not 0 < size <= MAX_LINES:
            raise MalformedRecord(
                f"the size of {what} is not a number of lines", actual=brief(size)
            )
        return cls(root, size)


def tree_of(lines: Sequence[bytes]) -> Tree:
    """The tree over ``lines`` (without newlines); an empty tree is left out, so it has none."""
    if not lines:
        raise MalformedRecord("a tree without lines", next_step="leave the tree out")
    return Tree(merkle.root(list(lines)).hex(), len(lines))


def sha256_hex(data: bytes) -> str:
    """Plain SHA-256, as ``sha256sum`` prints it: how subjects and records are named."""
    return hashlib.sha256(data).hexdigest()


class _Refused(Exception):
    """Carries a cause up through the containers, which add where they stood."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        self.path: list[str] = []

    def where(self) -> str:
        return brief("$" + "".join(reversed(self.path)))


def _refuse(value: Any, depth: int) -> None:
    """Raise _Refused for what in ``value`` does not fit a line, as ``fits_a_line`` found."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise _Refused(f"an integer beyond ±(2^53 − 1) ({value.bit_length()} bits)")
        return
    if kind in (dict, list, tuple):
        if depth == 0:
            raise _Refused(f"nesting deeper than {MAX_DEPTH} levels")
        items = value.items() if kind is dict else enumerate(value)
        for key, item in items:
            if kind is dict and (type(key) is not str or not key.isascii()):
                raise _Refused(f"the key {brief(key)}, which is not an ASCII string,")
            try:
                _refuse(item, depth - 1)
            except _Refused as refused:
                refused.path.append(f".{brief(key, 40)}" if kind is dict else f"[{key}]")
                raise
        return
    if kind is float:
        raise _Refused("a float (or a number written with a point or an exponent)")
    raise _Refused(f"a value of type {kind.__name__}, which a line cannot hold,")


def _why_not_json(line: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nesting deeper than {MAX_DEPTH} levels"
    if line[:3] == b"\xef\xbb\xbf":
        return "a byte order mark before the JSON"
    if not line:
        return "an empty line where JSON was expected"
    if isinstance(error, UnicodeDecodeError):
        return f"bytes that are not UTF-8 text ({error.reason})"
    constant = re.search(rb"NaN|-?Infinity", line)
    if constant and _parses_leniently(line):
        return f"{constant[0].decode()} at byte {constant.start()}, which is not JSON"
    if re.search(rb"\\u[dD][89abAB]", line) or re.search(rb"\\u[dD][c-fC-F]", line):
        if _parses_leniently(line):
            return _SURROGATE
    return f"not JSON: {error}"


def _parses_leniently(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _why_not_canonical(line: bytes, encoded: bytes) -> str:
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                repeated.append(key)
            seen.add(key)
        return dict(items)

    try:
        json.loads(line, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        # The line was decoded, so this parser stumbles over what a repeated key's value hid.
        return "a key is repeated in one object, and what it hides is nested too deeply or too long"
    if repeated:
        return f"the key {brief(repeated[0])} is repeated in one object"
    at = len(os.path.commonprefix([line, encoded]))
    found = line[at : at + 1]
    if found in (b" ", b"\t", b"\r", b"\n"):
        cause = "whitespace"
    elif re.search(rb"\\[^\\]{0,5}$", line[: at + 1]):
        cause = "a character escaped otherwise than RFC 8785 does"
    elif found == b"-" and encoded[at : at + 1] == b"0":
        cause = "the integer -0"
    else:
        cause = "keys out of order"
    return f"{cause} at byte {at}: the line is not its own RFC 8785 encoding"
