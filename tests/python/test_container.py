"""The .tnr file: one encoding, opened by ordinary tools, and every other file refused by name."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
import warnings
import zipfile
import zlib

import pytest

from torchnotary.errors import MalformedRecord
from torchnotary.statement import container
from torchnotary.statement.container import (
    MAX_TOTAL_BYTES,
    MEMBERS,
    pack,
    read,
    unpack,
    write_atomically,
)

MEMBERS_HERE = {
    "bundle.json": b'{"type":"bundle/1"}',
    "inputs.jsonl": b'{"type":"leaf"}\n',
    "evidence.safetensors": bytes(range(256)),
}
PACKED = pack(MEMBERS_HERE)


def foreign(names_and_data, *, compression=zipfile.ZIP_STORED, comment=b"", **attributes) -> bytes:
    """A ZIP as another tool would write it, as close to ours as the arguments allow."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")  # about duplicate names, which are the point
        for name, data in names_and_data:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system = compression, 3
            info.external_attr = 0o100644 << 16
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
        archive.comment = comment
    return stream.getvalue()


def test_members_come_back_and_the_encoding_depends_on_nothing_else():
    assert unpack(PACKED) == MEMBERS_HERE
    assert list(unpack(PACKED)) == list(MEMBERS_HERE)
    assert pack(dict(reversed(MEMBERS_HERE.items()))) == PACKED
    everything = {name: name.encode() for name in MEMBERS}
    assert unpack(pack(everything)) == everything


def test_the_encoding_is_the_plain_zip_of_the_format_document():
    assert foreign(MEMBERS_HERE.items(), date_time=(1980, 1, 1, 0, 0, 0)) == PACKED


def test_ordinary_tools_open_it(tmp_path):
    path = tmp_path / "run.tnr"
    write_atomically(path, PACKED)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS_HERE
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "inputs.jsonl").read_bytes() == MEMBERS_HERE["inputs.jsonl"]


def test_every_single_bit_flipped_is_refused():
    for bit in range(len(PACKED) * 8):
        damaged = bytearray(PACKED)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MalformedRecord):
            unpack(bytes(damaged))


def test_a_file_truncated_anywhere_is_refused():
    for length in range(len(PACKED)):
        with pytest.raises(MalformedRecord, match="truncated|empty|central directory"):
            unpack(PACKED[:length])


def test_a_byte_before_or_after_or_between_is_refused():
    for at in range(len(PACKED) + 1):
        with pytest.raises(MalformedRecord):
            unpack(PACKED[:at] + b"P" + PACKED[at:])


@pytest.mark.parametrize(
    "data, cause",
    [
        (b"", "empty"),
        (b"P", "truncated"),
        (b"PK\3\4", "truncated"),
        (b"not a zip at all, but text", "not a ZIP"),
        (b"\x1f\x8b" + bytes(100), "not a ZIP"),
        (b"PK\5\6" + bytes(18), "without members"),
        (PACKED + b"\0", "1 bytes follow"),
        (PACKED * 2, "follow the end"),
        (b"\0" + PACKED, "not a ZIP"),
    ],
)
def test_what_is_no_record_is_refused_by_name(data, cause):
    with pytest.raises(MalformedRecord, match=cause):
        unpack(data)


def test_a_compressed_member_is_a_zip_bomb_and_is_never_inflated():
    bomb = foreign([("bundle.json", bytes(10**7))], compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    with pytest.raises(MalformedRecord, match="compressed.*ZIP bomb"):
        unpack(bomb)


def _declaring(name: str, size: int) -> bytes:
    header = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 0x21, 0, size, size, len(name), 0)
    return header + name.encode() + b"{}"


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_member_that_declares_more_than_its_cap_is_refused_before_it_is_read(name):
    limit = MEMBERS[name]
    if limit < 2**32 - 1:
        with pytest.raises(MalformedRecord, match=f"{name} is too large.*expected {limit}"):
            unpack(_declaring(name, limit + 1))
    with pytest.raises(MalformedRecord, match=f"truncated inside {name}"):
        unpack(_declaring(name, limit))


def test_a_file_larger_than_a_zip_can_be_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.tnr"
    path.write_bytes(PACKED)
    os.truncate(path, MAX_TOTAL_BYTES + 1)
    with pytest.raises(MalformedRecord, match="the file is too large"):
        read(path)
    os.truncate(path, MAX_TOTAL_BYTES)
    with pytest.raises(MalformedRecord, match="goes on after its last member"):
        read(path)


@pytest.mark.parametrize(
    "name",
    ["../bundle.json", "/etc/passwd", "a/../../b", "..\\bundle.json", "./bundle.json", ".hidden"],
)
def test_a_member_that_names_a_path_is_refused_and_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MalformedRecord, match="names a path"):
        unpack(foreign([("bundle.json", b"{}"), (name, b"x")]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "archive, cause",
    [
        (foreign([("inputs.jsonl", b"x")]), "no bundle.json"),
        (foreign([("bundle.json", b"x"), ("readme.txt", b"x")]), "readme.txt is not one"),
        (foreign([("BUNDLE.JSON", b"x")]), "BUNDLE.JSON is not one"),
        (foreign([("bundle.json", b"x"), ("y" * 65, b"x")]), "name no record has"),
        (foreign([("inputs.jsonl", b"x"), ("bundle.json", b"x")]), "bundle.json is out of order"),
        (
            foreign([("bundle.json", b"x"), ("outputs.jsonl", b"x"), ("inputs.jsonl", b"x")]),
            "inputs.jsonl is out of order",
        ),
        (foreign([("bundle.json", b"x"), ("bundle.json", b"y")]), "bundle.json is there twice"),
        (foreign([("bundle.json", b"")]), "bundle.json is empty"),
        (foreign([("bundle.json", b"x")], comment=b"hello"), "ZIP comment"),
        (foreign([("bundle.json", b"x")], extra=b"\x01\x00\x00\x00"), "extra field"),
        (foreign([("bundle.json", b"x")], comment=b"c" * 65535), "ZIP comment"),
        (foreign([("bundle.json", b"x")], date_time=(2026, 1, 1, 0, 0, 0)), "one encoding"),
        (foreign([("bundle.json", b"x")], external_attr=0), "central directory"),
        (foreign([("bundle.json", b"x")], create_system=0), "central directory"),
        (foreign([("bundle.json", b"x")], internal_attr=1), "central directory"),
    ],
)
def test_a_zip_in_another_encoding_is_refused_by_name(archive, cause):
    with pytest.raises(MalformedRecord, match=cause):
        unpack(archive)


def test_a_member_comment_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("bundle.json")
        info.external_attr, info.comment = 0o100644 << 16, b"slack"
        archive.writestr(info, b"x")
    with pytest.raises(MalformedRecord, match="central directory"):
        unpack(stream.getvalue())


def _with_flags(flags: int) -> bytes:
    data = bytearray(PACKED)
    struct.pack_into("<H", data, 6, flags)
    return bytes(data)


def test_encrypted_streamed_and_unicode_members_are_refused():
    for flags, cause in [(1, "encrypted"), (8, "data descriptor"), (0x800, "one encoding")]:
        with pytest.raises(MalformedRecord, match=cause):
            unpack(_with_flags(flags))

    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise OSError

        def tell(self):
            raise OSError

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("bundle.json", b"x")
    with pytest.raises(MalformedRecord, match="data descriptor"):
        unpack(stream.getvalue())


def test_damaged_content_is_named_with_both_checksums():
    damaged = PACKED.replace(b'{"type":"leaf"}', b'{"type":"LEAF"}')
    with pytest.raises(MalformedRecord, match="inputs.jsonl is damaged") as caught:
        unpack(damaged)
    assert caught.value.expected == f"{zlib.crc32(MEMBERS_HERE['inputs.jsonl']):08x}"


def test_members_no_record_has_are_not_packed(monkeypatch):
    bundle = {"bundle.json": b"x"}
    for members, cause in [
        ({}, "bundle.json"),
        ({**bundle, "other": b"x"}, "no such member"),
        ({**bundle, "inputs.jsonl": b""}, "inputs.jsonl is empty"),
        ({"bundle.json": bytes(16 * 2**20 + 1)}, "too large"),
    ]:
        with pytest.raises(MalformedRecord, match=cause):
            pack(members)
    monkeypatch.setattr(container, "MAX_TOTAL_BYTES", 100)
    with pytest.raises(MalformedRecord, match="larger than a .tnr can be"):
        pack(bundle)


def test_what_cannot_be_opened_is_an_os_error_and_what_is_no_file_is_malformed(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.tnr")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.tnr")
    with pytest.raises(MalformedRecord, match="not a pipe"):
        read(tmp_path / "pipe.tnr")
    with pytest.raises(MalformedRecord, match="not a pipe or a device"):
        read("/dev/zero")


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "run.tnr"
    write_atomically(path, b"old")

    def failing():
        yield b"new"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_atomically(path, failing())
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["run.tnr"]
    write_atomically(path, container.chunks(MEMBERS_HERE))
    assert read(path) == MEMBERS_HERE and os.listdir(tmp_path) == ["run.tnr"]
    with pytest.raises(FileNotFoundError) as missing:
        write_atomically(tmp_path / "missing" / "run.tnr", b"x")
    assert missing.value.filename == str(tmp_path / "missing" / "run.tnr")
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"x")


def test_only_a_regular_file_is_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for special in (pipe, link, "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            write_atomically(special, b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert link.is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_a_saved_record_has_the_mode_the_user_gives_files(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "run.tnr", PACKED)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.tnr").stat().st_mode) == 0o640
