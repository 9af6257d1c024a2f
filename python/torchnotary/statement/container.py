"""The ``.tnr`` file: a ZIP that ordinary tools open, in exactly one encoding.

Grammar (all integers little-endian; APPNOTE.TXT 6.3 names the fields)::

    file     = member+ entry+ end        one member and one entry per name, in the order of MEMBERS
    member   = "PK\\3\\4" version=20 flags=0 method=0 time=0 date=1980-01-01 crc size size
               u16(len name) u16(0) name data
    entry    = "PK\\1\\2" madeby=3·256+20 (then as above) u16(0)×4 0100644<<16 offset name
    end      = "PK\\5\\6" u16(0) u16(0) u16(n) u16(n) u32(len entries) u32(offset) u16(0)

A reader compares every byte that is not member data with what the writer would have written,
and the data with its CRC, so no bit of the file is slack.
"""

from __future__ import annotations

import io
import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..errors import MalformedRecord
from ..files import NotRegular, open_regular, require_regular
from .lines import MAX_FILE_BYTES, brief

MAX_TOTAL_BYTES = 2**32 - 1
# Members in the order they have in the file, each with its largest size in bytes.
MEMBERS = {
    "bundle.json": 16 * 2**20,
    "weights.jsonl": MAX_FILE_BYTES,
    "structure.jsonl": MAX_FILE_BYTES,
    "inputs.jsonl": MAX_FILE_BYTES,
    "outputs.jsonl": MAX_FILE_BYTES,
    "trace.jsonl": MAX_FILE_BYTES,
    "openings.jsonl": MAX_FILE_BYTES,
    "evidence.safetensors": 2**32 - 1,
}
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_DATE_1980_01_01 = 0x21
_ZIP_2_0, _MADE_BY_UNIX, _REGULAR_0644 = 20, 3 << 8, 0o100644 << 16
_GET_ORIGINAL = "ask for the original file; a record is not repacked, only copied"


def pack(members: Mapping[str, bytes]) -> bytes:
    """The one encoding of ``members``; MalformedRecord for names or sizes no record has."""
    return b"".join(chunks(members))


def chunks(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """``pack`` piece by piece, for members too large to hold twice."""
    unknown = sorted(set(members) - set(MEMBERS))
    if unknown:
        raise MalformedRecord("a record has no such member", actual=brief(unknown[0]))
    if "bundle.json" not in members:
        raise MalformedRecord("a record has a bundle.json")
    for name, limit in MEMBERS.items():
        if name in members:
            _check_size(name, len(members[name]), limit)
    directory = _Directory()
    for name in MEMBERS:
        if name in members:
            data = members[name]
            yield directory.add(name, zlib.crc32(data), len(data))
            yield data
    yield directory.tail()


def read(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The members of the record at ``path``: OSError if unreadable, else MalformedRecord."""
    try:
        stream = open_regular(path)
    except NotRegular:
        raise MalformedRecord("a record is a regular file, not a pipe or a device") from None
    with stream:
        return _read(stream, os.fstat(stream.fileno()).st_size)


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of a record held in memory; MalformedRecord names what is not its encoding."""
    return _read(io.BytesIO(data), len(data))


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Makes ``path`` hold ``data`` durably, or leaves what was there; nothing half-written.

    Only a regular file is replaced: IsADirectoryError for a folder, NotRegular for others.
    """
    target = Path(path)
    if target.exists():
        require_regular(target.stat(), path)
    temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        error.filename = os.fspath(path)  # nobody knows the other name
        raise
    try:
        with open(descriptor, "wb") as stream:
            for chunk in (data,) if isinstance(data, (bytes, bytearray, memoryview)) else data:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Makes names that were created or replaced in ``folder`` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Directory:
    """Writes the headers of one file in order: the only place that knows their bytes."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._offset = 0

    def add(self, name: str, crc: int, size: int) -> bytes:
        """The local header of the next member; its data follows."""
        encoded = name.encode("ascii")
        shared = (0, 0, 0, _DATE_1980_01_01, crc, size, size, len(encoded))
        local = _LOCAL.pack(b"PK\3\4", _ZIP_2_0, *shared, 0) + encoded
        self._entries.append(
            _CENTRAL.pack(
                b"PK\1\2", _MADE_BY_UNIX | _ZIP_2_0, _ZIP_2_0, *shared,
                0, 0, 0, 0, _REGULAR_0644, self._offset,
            )
            + encoded
        )  # fmt: skip
        self._offset += len(local) + size
        return local

    def tail(self) -> bytes:
        """Everything after the last member's data."""
        entries = b"".join(self._entries)
        count = len(self._entries)
        if self._offset + len(entries) + _END.size > MAX_TOTAL_BYTES:
            raise MalformedRecord(
                "the record is larger than a .tnr can be",
                expected=MAX_TOTAL_BYTES,
                actual=self._offset + len(entries) + _END.size,
                next_step="save it without the kept tensors",
            )
        end = _END.pack(b"PK\5\6", 0, 0, count, count, len(entries), self._offset, 0)
        return entries + end


def _read(stream: BinaryIO, total: int) -> dict[str, bytes]:
    if total > MAX_TOTAL_BYTES:
        raise MalformedRecord("the file is too large", expected=MAX_TOTAL_BYTES, actual=total)
    directory, members, order = _Directory(), {}, list(MEMBERS)
    left = total
    while True:
        magic = stream.read(4)
        left -= len(magic)
        if magic != b"PK\3\4":
            break
        header = magic + stream.read(_LOCAL.size - 4)
        left -= len(header) - 4
        name, size, crc = _check_header(header, stream, left)
        if name in members:
            raise MalformedRecord(f"the member {name} is there twice", next_step=_GET_ORIGINAL)
        if name not in order:
            raise MalformedRecord(
                f"the member {name} is out of order",
                expected=", ".join(MEMBERS),
                next_step=_GET_ORIGINAL,
            )
        del order[: order.index(name) + 1]
        left -= len(name)
        data = stream.read(size)
        left -= size
        if zlib.crc32(data) != crc:
            raise MalformedRecord(
                f"the member {name} is damaged: its CRC differs",
                expected=f"{crc:08x}",
                actual=f"{zlib.crc32(data):08x}",
            )
        if directory.add(name, crc, size) != header + name.encode():
            raise MalformedRecord(f"the header of {name} is not in its one encoding")
        members[name] = data
    if not members:
        raise MalformedRecord(_why_not_zip(magic, total))
    if "bundle.json" not in members:
        raise MalformedRecord("the record has no bundle.json")
    _check_tail(magic, stream, left, directory.tail())
    return members


def _check_header(header: bytes, stream: BinaryIO, left: int) -> tuple[str, int, int]:
    """Name, size and CRC of the member whose header was read, before any of its data is."""
    if len(header) < _LOCAL.size:
        raise MalformedRecord("the file is truncated inside a member's header")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
    if name_length > 64:
        raise MalformedRecord("a member has a name no record has", actual=f"{name_length} bytes")
    raw = stream.read(name_length)
    if len(raw) < name_length:
        raise MalformedRecord("the file is truncated inside a member's name")
    name = raw.decode("ascii", "backslashreplace")
    shown = brief(name)
    if "/" in name or "\\" in name or name.startswith("."):
        raise MalformedRecord(f"the member {shown} names a path; a record holds plain names only")
    if name not in MEMBERS:
        raise MalformedRecord(f"the member {shown} is not one a record has")
    if flags & 1:
        raise MalformedRecord(f"the member {name} is encrypted")
    if flags & 8:
        raise MalformedRecord(f"the member {name} has a data descriptor", next_step=_GET_ORIGINAL)
    if method != 0 or packed != size:
        raise MalformedRecord(
            f"the member {name} is compressed, which could unpack to any size (a ZIP bomb)",
            expected="method 0 (stored)",
            actual=f"method {method}, {packed} of {size} bytes",
            next_step=_GET_ORIGINAL,
        )
    if extra_length:
        raise MalformedRecord(f"the member {name} has an extra field", next_step=_GET_ORIGINAL)
    _check_size(name, size, MEMBERS[name])
    if size > left - name_length:
        raise MalformedRecord(
            f"the file is truncated inside {name}", expected=size, actual=max(0, left - name_length)
        )
    return name, size, crc


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise MalformedRecord(f"the member {name} is too large", expected=limit, actual=size)
    if size == 0:
        raise MalformedRecord(f"the member {name} is empty", next_step="leave an empty file out")


def _check_tail(magic: bytes, stream: BinaryIO, left: int, expected: bytes) -> None:
    """What follows the members must be the central directory they call for, and nothing else."""
    if left + len(magic) > len(expected) + 2**16:
        raise MalformedRecord(
            "the file goes on after its last member",
            expected=len(expected),
            actual=left + len(magic),
        )
    actual = magic + stream.read()
    if actual == expected:
        return
    if expected.startswith(actual):
        raise MalformedRecord("the file is truncated inside its central directory")
    if actual.startswith(expected):
        raise MalformedRecord(f"{len(actual) - len(expected)} bytes follow the end of the file")
    end = actual.rfind(b"PK\5\6")
    if end >= 0 and len(actual) >= end + _END.size and _END.unpack_from(actual, end)[-1]:
        raise MalformedRecord("the file has a ZIP comment", next_step=_GET_ORIGINAL)
    raise MalformedRecord("the central directory is not the one the members call for")


def _why_not_zip(magic: bytes, total: int) -> str:
    if total == 0:
        return "the file is empty"
    if b"PK\3\4".startswith(magic):
        return "the file is truncated inside its first member"
    if magic == b"PK\5\6":
        return "the file is a ZIP without members"
    return "the file is not a ZIP, so it is no record"
