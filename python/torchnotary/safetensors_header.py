"""The header of a safetensors file, strictly: every byte of the data belongs to one tensor.

    file   = u64le n ‖ header (n bytes of JSON, padded with spaces) ‖ data
    header = {"__metadata__": {text: text}?, name: {"dtype", "shape", "data_offsets": [b, e]}, …}

Offsets count from the start of the data; tensors cover it without overlap, gap or rest, in
row-major order, little-endian. Source: the format's description in huggingface/safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from .errors import MalformedRecord, UnsupportedTensor
from .statement.lines import brief

MAX_HEADER_BYTES = 100_000_000
MAX_RANK = 64

# The format's name of a dtype, torch's name, and the bytes of one element.
DTYPES = {
    "BOOL": ("bool", 1),
    "U8": ("uint8", 1),
    "I8": ("int8", 1),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
    "I16": ("int16", 2),
    "U16": ("uint16", 2),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I32": ("int32", 4),
    "U32": ("uint32", 4),
    "F32": ("float32", 4),
    "I64": ("int64", 8),
    "U64": ("uint64", 8),
    "F64": ("float64", 8),
    "C64": ("complex64", 8),
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file: torch's dtype name, shape, first byte in the file, length in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    nbytes: int


def read_header(stream: BinaryIO, size: int, path: str) -> list[StoredTensor]:
    """The tensors of an open safetensors file of ``size`` bytes, in the order of their bytes.

    Raises MalformedRecord naming the file and the byte where it breaks the format, and
    UnsupportedTensor for a dtype that has no commitment rule.
    """
    length = _header_length(stream.read(8), size, path)
    header = _parse(stream.read(length), length, path)
    found = [_entry(name, value, 8 + length, path) for name, value in header.items()]
    found.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    expected = 8 + length
    for tensor in found:
        if tensor.start != expected:
            fault = "overlaps the one before" if tensor.start < expected else "follows a gap"
            _refuse(path, tensor.start, f"tensor {tensor.name!r} {fault}", expected, tensor.start)
        expected += tensor.nbytes
    if expected != size:
        cause = "is cut short" if expected > size else "goes on after its last tensor"
        _refuse(path, min(expected, size), f"the file {cause}", expected, size)
    return found


def _header_length(field: bytes, size: int, path: str) -> int:
    if len(field) < 8:
        _refuse(path, 0, "too short for a safetensors file", "at least 8 bytes", f"{size} bytes")
    length = int.from_bytes(field, "little")
    if length > MAX_HEADER_BYTES:
        _refuse(path, 0, "the header is too long", f"at most {MAX_HEADER_BYTES} bytes", length)
    if length > size - 8:
        _refuse(path, 0, "the header reaches beyond the file", f"at most {size - 8} bytes", length)
    return length


def _parse(header: bytes, length: int, path: str) -> dict[str, Any]:
    if len(header) != length:
        _refuse(path, 8 + len(header), "the file shrank while it was read", length, len(header))
    text = header.rstrip(b" ")
    if not text.startswith(b"{"):
        _refuse(path, 8, "the header is not a JSON object")
    try:
        parsed = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct)
    except UnicodeDecodeError as error:
        _refuse(path, 8 + error.start, "the header is not UTF-8")
    except json.JSONDecodeError as error:
        at = len(error.doc[: error.pos].encode("utf-8"))
        _refuse(path, 8 + at, f"the header is not JSON: {error.msg}")
    except (_Repeated, ValueError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else error
        _refuse(path, 8, f"the header is not strict JSON: {cause}")
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, 8, "__metadata__ does not map text to text")
    return parsed


def _entry(name: str, value: Any, data_start: int, path: str) -> StoredTensor:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(path, 8, f"the entry of {name!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        _refuse(path, 8, f"the shape of {name!r} is not a list of at most {MAX_RANK} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse(path, 8, f"the data_offsets of {name!r} are not two ascending offsets")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise UnsupportedTensor(
            f"{path}: no commitment rule for dtype {str(dtype)[:40]!r} of {name!r}",
            next_step=f"convert it to one of {', '.join(DTYPES)}",
        )
    torch_name, nbytes = DTYPES[dtype]
    for axis in shape:
        nbytes *= axis
    if offsets[1] - offsets[0] != nbytes:
        cause = f"{name!r} has other bytes than its dtype and shape need"
        _refuse(path, data_start + offsets[0], cause, nbytes, offsets[1] - offsets[0])
    return StoredTensor(name, torch_name, tuple(shape), data_start + offsets[0], nbytes)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


class _Repeated(Exception):
    """A key that stands twice in one object of the header."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Repeated(f"the key {brief(name)} is repeated")
        found[name] = value
    return found


def _refuse(
    path: str, offset: int, cause: str, expected: Any = None, actual: Any = None
) -> NoReturn:
    raise MalformedRecord(
        f"{path}, byte {offset}: {cause}",
        expected=expected,
        actual=actual,
        next_step="get the file again and compare its checksum with the source's",
    )
