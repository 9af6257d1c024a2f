"""The safetensors header against the reference implementation, and against files that lie."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from torchnotary import _core
from torchnotary.errors import MalformedRecord, NotaryError, UnsupportedTensor
from torchnotary.manifest import Manifest
from torchnotary.safetensors_header import DTYPES


def build(header: str | bytes, data: bytes) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text)) + text + data


def ours(folder, file: bytes):
    """The header as we read it: name to (dtype, shape, begin, end) with offsets into the data."""
    path = folder / "x.safetensors"
    path.write_bytes(file)
    data = 8 + int.from_bytes(file[:8], "little")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = _core.read_safetensors_header(descriptor)
    finally:
        os.close(descriptor)
    return {t.name: (t.dtype, t.shape, t.begin - data, t.begin - data + t.nbytes) for t in found}


@st.composite
def files(draw):
    """A header whose tensors tile the data, in any order of entries and any spelling of JSON."""
    header, offset = {}, 0
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(st.text(), st.text(), max_size=3))
    for name in draw(st.lists(st.text(), unique=True, max_size=5)):
        if name == "__metadata__":
            continue
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        shape = draw(st.lists(st.integers(0, 4), max_size=4))
        nbytes = _core.itemsize(DTYPES[dtype])
        for size in shape:
            nbytes *= size
        entry = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + nbytes]}
        header[name] = {key: entry[key] for key in draw(st.permutations(sorted(entry)))}
        offset += nbytes
    order = draw(st.permutations(sorted(header)))
    text = json.dumps(
        {name: header[name] for name in order},
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, "\t"])),
    )
    text += " " * draw(st.integers(0, 9))
    return text.encode("utf-8"), bytes(offset)


@given(files())
@settings(deadline=None)
def test_what_the_reference_reads_is_read_alike(tmp_path_factory, parts):
    file = build(*parts)
    expected = dict(deserialize(file))
    found = ours(tmp_path_factory.getbasetemp(), file)
    assert found.keys() == expected.keys()
    for name, (dtype, shape, begin, end) in found.items():
        assert shape == expected[name]["shape"]
        assert DTYPES[expected[name]["dtype"]] == dtype
        assert end - begin == len(expected[name]["data"])


@given(files(), st.data())
@settings(deadline=None, max_examples=400)
def test_no_damage_that_the_reference_refuses_is_accepted(tmp_path_factory, parts, data):
    file = bytearray(build(*parts))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(file) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "repeat"]))
        if kind == "change":
            file[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del file[at:]
        else:
            file[at:at] = file[at : at + 9]
        if not file:
            break
    try:
        found = ours(tmp_path_factory.getbasetemp(), bytes(file))
    except (MalformedRecord, UnsupportedTensor):
        return
    try:
        assert found.keys() == dict(deserialize(bytes(file))).keys()
    except SafetensorError as error:
        pytest.fail(f"accepted what the reference refuses: {error}: {bytes(file)!r}")


# Stands in the lies for a whole entry of two bytes.
ENTRY = '"dtype":"U8","shape":[2],"data_offsets":[0,2]'
LIES = {
    "end-beyond-the-file": '{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}',
    "sizes-of-2^63": '{"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,2]}}',
    "sizes-of-2^64": '{"a":{"dtype":"U8","shape":[18446744073709551618],"data_offsets":[0,2]}}',
    "offsets-of-2^63": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,9223372036854775808]}}',
    "offsets-of-2^63-1": '{"a":{"dtype":"U8","shape":[9223372036854775807],"data_offsets":'
    "[0,9223372036854775807]}}",
    "offsets-that-wrap": '{"a":{"dtype":"U8","shape":[0],"data_offsets":'
    "[9223372036854775807,9223372036854775807]}}",
    "product-wraps-to-2": '{"a":{"dtype":"U8","shape":[4294967296,4294967296,2],'
    '"data_offsets":[0,2]}}',
    "product-wraps-to-0": '{"a":{"dtype":"F32","shape":[4611686018427387904],'
    '"data_offsets":[0,0]}}',
    "float-offset": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2.0]}}',
    "exponent": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2e0]}}',
    "negative": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[-0,2]}}',
    "leading-zero": '{"a":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}}',
    "plus": '{"a":{"dtype":"U8","shape":[+2],"data_offsets":[0,2]}}',
    "hexadecimal": '{"a":{"dtype":"U8","shape":[0x2],"data_offsets":[0,2]}}',
    "text-for-a-number": '{"a":{"dtype":"U8","shape":["2"],"data_offsets":[0,2]}}',
    "null-shape": '{"a":{"dtype":"U8","shape":null,"data_offsets":[0,2]}}',
    "nested-shape": '{"a":{"dtype":"U8","shape":[[2]],"data_offsets":[0,2]}}',
    "one-offset": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[2]}}',
    "three-offsets": '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1,2]}}',
    "rank-65": '{"a":{"dtype":"U8","shape":[' + "1," * 64 + '2],"data_offsets":[0,2]}}',
    "unknown-key": '{"a":{ENTRY,"x":1}}',
    "repeated-key": '{"a":{ENTRY,"shape":[2]}}',
    "empty-entry": '{"a":{}}',
    "trailing-comma-in-an-entry": '{"a":{ENTRY,}}',
    "trailing-comma": '{"a":{ENTRY},}',
    "comma-missing": '{"a":{ENTRY}"b":{}}',
    "colon-missing": '{"a"{ENTRY}}',
    "unclosed": '{"a":{ENTRY}',
    "unclosed-string": '{"a',
    "second-object": '{"a":{ENTRY}}{}',
    "comment": '{"a":{ENTRY}/**/}',
    "nul-padding": '{"a":{ENTRY}}\0',
    "byte-order-mark": "\ufeff{}",
    "same-name": '{"a":{ENTRY},"a":{ENTRY}}',
    "same-name-by-escape": '{"a":{ENTRY},'
    '"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}',
    "overlap": '{"a":{ENTRY},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "alias": '{"a":{ENTRY},"b":{ENTRY}}',
    "hole": '{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
    "trailing-bytes": '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    "no-tensors-but-data": "{}",
    "metadata-of-numbers": '{"__metadata__":{"k":1},"a":{ENTRY}}',
    "metadata-a-list": '{"__metadata__":[],"a":{ENTRY}}',
    "metadata-null": '{"__metadata__":null,"a":{ENTRY}}',
    "metadata-twice": '{"__metadata__":{},"__metadata__":{},"a":{ENTRY}}',
    "metadata-key-twice": '{"__metadata__":{"k":"1","k":"2"},"a":{ENTRY}}',
    "control-character": '{"a\n":{ENTRY}}',
    "unknown-escape": '{"\\x":{ENTRY}}',
    "short-escape": '{"\\u12":{ENTRY}}',
    "high-surrogate-alone": '{"\\ud800":{ENTRY}}',
    "low-surrogate-alone": '{"\\udc00":{ENTRY}}',
    "surrogates-swapped": '{"\\udc00\\ud800":{ENTRY}}',
    "surrogate-then-letter": '{"\\ud800\\u0061":{ENTRY}}',
    "name-too-long": '{"' + "n" * 65537 + '":{ENTRY}}',
    "deep": '{"a":' + '{"a":' * 50_000,
    "deep-lists": '{"a":{"shape":' + "[" * 100_000,
}  # fmt: skip
NOT_UTF8 = {
    "overlong": b"\xc0\xaf", "overlong-3": b"\xe0\x80\xaf", "surrogate": b"\xed\xa0\x80",
    "beyond": b"\xf4\x90\x80\x80", "lone": b"\x80", "cut": b"\xe2\x82", "f5": b"\xf5\x80\x80\x80",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused_naming_file_and_byte(tmp_path, name):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(build(LIES[name].replace("ENTRY", ENTRY), b"12"))
    with pytest.raises(MalformedRecord, match=r"lie\.safetensors, byte \d+: .*Next: "):
        Manifest.of(path)


@pytest.mark.parametrize("name", NOT_UTF8)
def test_a_header_that_is_not_utf_8_is_refused_at_its_first_wrong_byte(tmp_path, name):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(build(b'{"ab' + NOT_UTF8[name] + b'":{' + ENTRY.encode() + b"}}", b"12"))
    with pytest.raises(MalformedRecord, match="byte 12: the header is not UTF-8"):
        Manifest.of(path)


@pytest.mark.parametrize(
    ("file", "byte"),
    [
        (b"\0" * 7, 0),
        (struct.pack("<Q", 2**64 - 1) + b"{}", 0),
        (struct.pack("<Q", 100_000_001) + b"{}", 0),
        (struct.pack("<Q", 3) + b"{}", 0),
        (build('{"a":1}', b""), 13),
        (build('{"a":{"dtype":"U8","shape":[-2]}}', b""), 36),
        (build('{"a":{' + ENTRY + "}}", b"123"), 8 + 53 + 2),
        (build('{"a":{' + ENTRY + "}}", b"1"), 8 + 53 + 1),
    ],
)
def test_the_byte_that_is_named_is_where_the_fault_lies(tmp_path, file, byte):
    path = tmp_path / "x.safetensors"
    path.write_bytes(file)
    with pytest.raises(MalformedRecord, match=rf"x\.safetensors, byte {byte}: "):
        Manifest.of(path)


@given(st.binary(max_size=200))
@example(b"{" * 200)
@settings(deadline=None, max_examples=300)
def test_bytes_at_random_are_refused_or_have_no_tensors(tmp_path_factory, junk):
    try:
        assert ours(tmp_path_factory.getbasetemp(), build(junk, b"")) == {}
    except NotaryError:
        pass


HOSTILE = {
    "brackets": lambda: b'{"a":{"shape":' + b"[" * 99_000_000,
    "spaces": lambda: b"{" + b" " * 99_000_000,
    "one-long-name": lambda: b'{"' + b"n" * 99_000_000,
    "metadata": lambda: b'{"__metadata__":{"k":"' + b"v" * 99_000_000,
    "metadata-keys": lambda: (
        b'{"__metadata__":{' + b"".join(b'"%d":"",' % n for n in range(2_000_000))
    ),
    "tensors": lambda: (
        b"{"
        + b"".join(
            b'"%d":{"dtype":"U8","shape":[0,1,1,1,1,1],"data_offsets":[0,0]},' % n
            for n in range(1_000_000)
        )
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_of_a_hundred_megabytes_costs_less_than_64(tmp_path, name):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(build(HOSTILE[name](), b""))
    code = """
import resource, sys
from torchnotary.errors import MalformedRecord
from torchnotary.manifest import Manifest
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
try:
    Manifest.of(sys.argv[1])
except MalformedRecord as error:
    print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    path.unlink()
    assert int(done.stdout) < 64 * 1024  # KiB
