"""The .tnr file as a ZIP: everything that two readers of one archive could see differently."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from torchnotary.statement import container

from .cases import Case, bad
from .edits import flip
from .genuine import OPEN, PLAIN

_LOCAL, _CENTRAL, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def cases() -> Iterator[Case]:
    yield from _archives()
    yield from _headers()
    yield from _names()
    yield from _lengths()
    yield from _no_archives()


def _bad(name: str, why: str, file: Callable[[bytes], bytes], record=PLAIN) -> Case:
    return bad(f"zip-{name}", "format", why, record.but(file=file))


def _archives() -> Iterator[Case]:
    """Archives that ordinary tools write and read."""

    def two(tnr: bytes) -> bytes:
        return _zip([*_members(tnr), ("inputs.jsonl", b"{}\n")])

    yield _bad("extra-field", "a member has an extra field", _rezip(extra=b"\1\0\0\0"))
    yield _bad("comment", "the archive has a comment", _rezip(comment=b"hello"))
    yield _bad("member-comment", "a member has a comment", _rezip(member_comment=b"hello"))
    yield _bad(
        "deflated",
        "a member is compressed",
        _rezip(compress_type=zipfile.ZIP_DEFLATED, compresslevel=0),
    )
    yield _bad(
        "data-descriptor", "sizes and CRC follow the data", lambda t: _zip(_members(t), True)
    )
    yield _bad("timestamp", "a member has a time", _rezip(date_time=(2026, 11, 21, 10, 2, 0)))
    yield _bad("symlink-mode", "a member is a link", _rezip(external_attr=0o120777 << 16))
    yield _bad("executable-mode", "a member is a program", _rezip(external_attr=0o100755 << 16))
    yield _bad("made-by-dos", "made on another system", _rezip(create_system=0))
    yield _bad("internal-attributes", "a member is marked as text", _rezip(internal_attr=1))
    yield _bad("version-45", "a member asks for another version of ZIP", _rezip(extract_version=45))
    yield _bad(
        "members-reordered",
        "the members are in another order",
        lambda t: _zip(_members(t)[::-1]),
        OPEN,
    )
    yield _bad("member-twice", "one name, two contents", two, OPEN)
    yield _bad(
        "bundle-twice",
        "the second bundle.json is another record's",
        lambda t: _zip([*_members(t), *_members(OPEN.tnr)[:1]]),
    )
    yield _bad("bundle-missing", "there is no bundle.json", lambda t: _zip(_members(t)[1:]), OPEN)
    yield _bad(
        "member-added", "a file no record has", lambda t: _zip([*_members(t), ("readme.txt", b"x")])
    )
    yield _bad(
        "member-empty",
        "a member without data",
        lambda t: _zip([*_members(t), ("weights.jsonl", b"")]),
    )
    yield _bad("zip64", "sizes are written as ZIP64 writes them", _zip64)
    yield _bad("zip64-end", "a ZIP64 end record stands before the end", _zip64_end)


def _headers() -> Iterator[Case]:
    """One field of one header: local (L), in the central directory (C), or in the end (E)."""
    for name, why, magic, offset, form, value in (
        ("encrypted-flag", "a member is marked as encrypted", _LOCAL, 6, "<H", 1),
        ("utf8-flag", "the name is marked as UTF-8", _LOCAL, 6, "<H", 0x800),
        ("central-flag", "only the directory says encrypted", _CENTRAL, 8, "<H", 1),
        ("local-time", "only the member has a time", _LOCAL, 10, "<H", 1),
        ("crc-wrong", "the CRC is not the data's", _LOCAL, 14, "<I", 0x12345678),
        ("crc-zero", "the CRC is left out", _LOCAL, 14, "<I", 0),
        ("central-crc-wrong", "the directory's CRC is not the data's", _CENTRAL, 16, "<I", 1),
        ("local-size-zero", "the size is left to the directory", _LOCAL, 22, "<I", 0),
        ("packed-size-differs", "stored, and two sizes", _LOCAL, 18, "<I", 7),
        ("size-one-less", "the size ends before the data", _LOCAL, 18, "<II", -1),
        ("size-4gib", "the size is that of ZIP64", _LOCAL, 18, "<II", (2**32 - 1,) * 2),
        ("size-beyond-cap", "a bundle of 16 MiB and a byte", _LOCAL, 18, "<II", (2**24 + 1,) * 2),
        ("size-beyond-file", "a size the file does not have", _LOCAL, 18, "<II", (2**24,) * 2),
        ("central-size", "the directory gives another size", _CENTRAL, 24, "<I", 3),
        ("name-length-huge", "a name of 65,535 bytes", _LOCAL, 26, "<H", 65535),
        ("extra-length", "an extra field that swallows the data", _LOCAL, 28, "<H", 16),
        ("central-comment-length", "a comment swallows the end", _CENTRAL, 32, "<H", 22),
        ("offset-wrong", "the directory points into the data", _CENTRAL, 42, "<I", 9),
        ("end-count-zero", "the end counts no members", _END, 8, "<HH", (0, 0)),
        ("end-directory-size", "the directory has another length", _END, 12, "<I", 1),
        ("end-directory-offset", "the directory lies elsewhere", _END, 16, "<I", 0),
        ("central-signature", "the directory has no signature", _CENTRAL, 0, "<I", 0),
    ):
        yield _bad(name, why, _patched(magic, offset, form, value))


def _names() -> Iterator[Case]:
    """One name that is not ``bundle.json``, in member and directory alike."""
    for name, why, called in (
        ("name-upper-case", "another case", b"BUNDLE.JSON"),
        ("name-in-folder", "in a folder", b"a/bundle.json"),
        ("name-parent", "in the folder above", b"../bundle.json"),
        ("name-absolute", "from the root down", b"/bundle.json"),
        ("name-backslash", "in a folder of another system", b"a\\bundle.json"),
        ("name-nul", "cut off by a NUL", b"bundle.json\0.txt"),
        ("name-lookalike", "with a Cyrillic letter", "bundle.jsоn".encode()),
        ("name-hidden", "of a hidden file", b".bundle.json"),
    ):
        yield _bad(name, f"the bundle has a name {why}", _renamed(called))
    yield _bad(
        "names-differ",
        "member and directory have two names",
        lambda t: t[: t.rindex(b"bundle.json")] + b"inputs.json" + t[-22:],
    )


def _lengths() -> Iterator[Case]:
    yield _bad("prefix", "a byte before the archive", lambda t: b"\0" + t)
    yield _bad("suffix", "a byte after the archive", lambda t: t + b"\0")
    yield _bad("two-archives", "two archives, one after the other", lambda t: t + t)
    yield _bad(
        "byte-before-directory",
        "a byte between data and directory",
        lambda t: t[: t.rindex(_CENTRAL)] + b"\0" + t[t.rindex(_CENTRAL) :],
    )
    yield _bad(
        "byte-before-end", "a byte between directory and end", lambda t: t[:-22] + b"\0" + t[-22:]
    )
    yield _bad(
        "directory-twice",
        "the directory stands there twice",
        lambda t: t[:-22] + t[t.rindex(_CENTRAL) :],
    )
    yield _bad("directory-missing", "there is no directory", lambda t: t[: t.rindex(_CENTRAL)])
    yield _bad("directory-entry-missing", "a member is not in the directory", _entry_missing, OPEN)
    yield _bad("end-missing", "there is no end", lambda t: t[:-22])
    yield _bad("truncated-header", "cut off in the first header", lambda t: t[:20])
    yield _bad("truncated-data", "cut off in the bundle", lambda t: t[: len(t) // 2])
    yield _bad("truncated-directory", "cut off in the directory", lambda t: t[:-40])
    yield _bad("truncated-by-a-byte", "the last byte is missing", lambda t: t[:-1])
    yield _bad("data-bit-flipped", "one bit of the data", flip(4096))
    yield _bad(
        "data-bit-flipped-crc-mended", "one bit of a name in the bundle, and its CRC", _mended
    )


def _no_archives() -> Iterator[Case]:
    yield _bad("of-nothing", "an archive without members", lambda t: _END + bytes(18))
    yield bad("file-empty", "format", "no bytes at all", b"")
    yield bad("file-of-text", "format", "a text", b"This record is valid.\n")
    yield bad("file-of-zeros", "format", "zeros only", bytes(512))
    yield bad(
        "file-bare-bundle", "format", "the bundle without its archive", PLAIN.members["bundle.json"]
    )
    yield bad("file-gzip", "format", "the record compressed", _gzip())


# How archives are made


def _members(tnr: bytes) -> list[tuple[str, bytes]]:
    return list(container.unpack(tnr).items())


class _Unseekable(io.BytesIO):
    """Makes zipfile write data descriptors."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    seek = tell


def _zip(
    members: list[tuple[str, bytes]],
    streamed: bool = False,
    comment: bytes = b"",
    **attributes: Any,
) -> bytes:
    """What Python's zipfile writes, stored; ``attributes`` are those of each member."""
    level = attributes.pop("compresslevel", None)
    stream = _Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, attributes.get("date_time", _EPOCH))
            info.external_attr = 0o100644 << 16
            info.create_system = 3
            for key, value in attributes.items():
                setattr(info, {"member_comment": "comment"}.get(key, key), value)
            archive.writestr(info, data, info.compress_type, level)
        archive.comment = comment
    return stream.getvalue()


def _rezip(**attributes: Any) -> Callable[[bytes], bytes]:
    return lambda tnr: _zip(_members(tnr), **attributes)


def _patched(magic: bytes, offset: int, form: str, value: Any) -> Callable[[bytes], bytes]:
    """A field of the only member, entry or end; a size of -1 or 1 is one less or more."""

    def edit(tnr: bytes) -> bytes:
        data = bytearray(tnr)
        place = tnr.rindex(magic) + offset
        values = value if isinstance(value, tuple) else (value,)
        if form == "<II" and len(values) == 1:
            values = tuple(size + value for size in struct.unpack_from(form, data, place))
        struct.pack_into(form, data, place, *values)
        return bytes(data)

    return edit


def _renamed(name: bytes) -> Callable[[bytes], bytes]:
    """A well-formed archive of the same one member under another name."""

    def edit(tnr: bytes) -> bytes:
        data = container.unpack(tnr)["bundle.json"]
        shared = struct.pack("<HHHHIII", 0, 0, 0, 0x21, zlib.crc32(data), len(data), len(data))
        shared += struct.pack("<HH", len(name), 0)
        member = _LOCAL + struct.pack("<H", 20) + shared + name + data
        entry = _CENTRAL + struct.pack("<HH", 3 << 8 | 20, 20) + shared
        entry += struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, 0) + name
        return member + entry + _end(1, len(entry), len(member))

    return edit


def _zip64(tnr: bytes) -> bytes:
    # By hand: what zipfile writes depends on the version of Python.
    body, entries, unknown = b"", b"", 2**32 - 1
    for name, data in _members(tnr):
        raw, crc, size = name.encode(), zlib.crc32(data), len(data)
        extra = struct.pack("<HHQQ", 1, 16, size, size)
        entries += _CENTRAL + struct.pack("<HHHHHHI", 3 << 8 | 45, 45, 0, 0, 0, 0x21, crc)
        entries += struct.pack(
            "<IIHHHHHII", size, size, len(raw), 0, 0, 0, 0, 0o100644 << 16, len(body)
        )
        entries += raw
        body += _LOCAL + struct.pack("<HHHHHI", 45, 0, 0, 0, 0x21, crc)
        body += struct.pack("<IIHH", unknown, unknown, len(raw), len(extra)) + raw + extra + data
    return body + entries + _end(len(_members(tnr)), len(entries), len(body))


def _end(count: int, size: int, offset: int) -> bytes:
    """The end record after a directory of ``count`` entries and ``size`` bytes at ``offset``."""
    return _END + struct.pack("<HHHHIIH", 0, 0, count, count, size, offset, 0)


def _zip64_end(tnr: bytes) -> bytes:
    directory = tnr.rindex(_CENTRAL)
    size, end = len(tnr) - 22 - directory, len(tnr) - 22
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 20, 20, 0, 0, 1, 1, size, directory)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    return tnr[:end] + record + locator + tnr[end:]


def _entry_missing(tnr: bytes) -> bytes:
    """The last member is in the archive, but the directory does not list it."""
    first, last = tnr.index(_CENTRAL), tnr.rindex(_CENTRAL)
    return tnr[:last] + _end(len(_members(tnr)) - 1, last - first, first)


def _mended(tnr: bytes) -> bytes:
    members = container.unpack(tnr)
    members["bundle.json"] = members["bundle.json"].replace(b'"tlogProof"', b'"tlogProog"')
    return container.pack(members)


def _gzip() -> bytes:
    """RFC 1952 around deflate's stored blocks, which every library writes alike."""
    deflate = zlib.compressobj(0, wbits=-15)
    tail = struct.pack("<II", zlib.crc32(PLAIN.tnr), len(PLAIN.tnr))
    return (
        b"\x1f\x8b\x08" + bytes(6) + b"\xff" + deflate.compress(PLAIN.tnr) + deflate.flush() + tail
    )
