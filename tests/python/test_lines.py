"""The one encoding of lines and line files: what is written, and everything that is refused."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from torchnotary.errors import MalformedRecord
from torchnotary.statement.lines import (
    MAX_DEPTH,
    MAX_INTEGER,
    Tree,
    canonical,
    encode_file,
    from_number,
    number,
    parse,
    parse_file,
    scan_file,
    sha256_hex,
    tree_of,
)

text = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(max_codepoint=127))
scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20
)


@given(values)
def test_the_encoding_is_the_one_of_rfc_8785_and_is_read_back(value):
    line = canonical(value)
    assert line == rfc8785.dumps(value)
    assert parse(line) == value


def test_every_control_character_and_the_odd_ones_are_escaped_as_rfc_8785_does():
    odd = [*map(chr, range(0x80)), "\u0080", "\u2028", "\u2029", "\ufeff", "\U0010ffff", "\u00e9"]
    for character in odd:
        assert canonical(character) == rfc8785.dumps(character)
        assert parse(canonical({"k": character})) == {"k": character}
    assert canonical("".join(odd)) == rfc8785.dumps("".join(odd))


def test_a_tuple_is_an_array():
    assert canonical(((1, 2), [])) == b"[[1,2],[]]"


@pytest.mark.parametrize(
    "value, cause",
    [
        (1.0, "a float"),
        ({"a": [1, {"b": math.nan}]}, r"a float.* at \$\.a\[1\]\.b"),
        (2**53, "beyond"),
        (-(2**53), "beyond"),
        (10**30, "beyond"),
        ({"é": 1}, "not an ASCII string"),
        ({1: 1}, "not an ASCII string"),
        ("\ud800", "surrogate"),
        ({"a": ["\udc00"]}, "surrogate"),
        (b"bytes", "type bytes"),
        ({1, 2}, "type set"),
        (object(), "type object"),
    ],
)
def test_a_value_without_a_place_in_a_line_is_refused_by_name(value, cause):
    with pytest.raises(MalformedRecord, match=cause):
        canonical(value)


@pytest.mark.parametrize(
    "line, cause",
    [
        (b"", "empty line"),
        (b"1.0", "float"),
        (b"1e2", "float"),
        (b"-0.0", "float"),
        (b"1e400", "not JSON"),
        (b"-0", "-0"),
        (b'{"a":-0}', "-0 at byte 5"),
        (b"01", "not JSON"),
        (b"9007199254740992", "beyond"),
        (b"1" * 40, "beyond"),
        (b"1" * 100_000, "not JSON"),
        (b"NaN", "NaN at byte 0"),
        (b'{"a":[1,-Infinity]}', "-Infinity at byte 8"),
        (b'{"a":1,"a":1}', "'?a'? is repeated"),
        (b'{"a":{"b":1,"b":2}}', "'?b'? is repeated"),
        (b'{"a":1,"\\u0061":2}', "'?a'? is repeated"),
        (b'{"b":1,"a":2}', "keys out of order"),
        ('{"é":1}'.encode(), "not an ASCII string"),
        (b" 1", "whitespace at byte 0"),
        (b"1 ", "whitespace at byte 1"),
        (b"[1, 2]", "whitespace at byte 3"),
        (b"[1]\n", "whitespace at byte 3"),
        (b"[1]\r", "whitespace at byte 3"),
        (b"1x", "not JSON"),
        (b"null\x00", "not JSON"),
        (b'{"a":1}{"a":1}', "not JSON"),
        (b"[1,]", "not JSON"),
        (b'"', "not JSON"),
        (b"\xef\xbb\xbf1", "byte order mark"),
        (b'"\xff"', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\x01"', "not JSON"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\udc00\\ud800"', "surrogate"),
        (b'"\\ud83d\\ude00"', "escaped otherwise"),
        (b'"\\u0041"', "escaped otherwise"),
        (b'"\\/"', "escaped otherwise"),
        (b'"\\u001F"', "escaped otherwise"),
        (b'"\\u0008"', "escaped otherwise"),
    ],
)
def test_a_line_two_readers_could_read_differently_is_refused_by_name(line, cause):
    with pytest.raises(MalformedRecord, match=cause):
        parse(line)


@given(st.binary(max_size=40))
def test_any_bytes_are_either_one_encoding_or_malformed(data):
    try:
        value = parse(data)
    except MalformedRecord:
        return
    assert canonical(value) == data


@given(values, st.data())
def test_no_changed_byte_is_a_second_encoding_of_the_same_value(value, data):
    line = bytearray(canonical(value))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    try:
        assert parse(bytes(line)) != value
    except MalformedRecord:
        pass


def test_nesting_is_limited_and_never_a_recursion_error():
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert canonical(parse(deepest)) == deepest
    for depth in (MAX_DEPTH + 1, 5_000, 200_000):
        with pytest.raises(MalformedRecord, match="nesting deeper"):
            parse(b"[" * depth + b"]" * depth)
        with pytest.raises(MalformedRecord, match="nesting deeper"):
            parse(b'{"a":' * depth + b"1" + b"}" * depth)
    nested = []
    for _ in range(5_000):
        nested = [nested]
    with pytest.raises(MalformedRecord, match="nesting deeper"):
        canonical(nested)


def test_a_refusal_does_not_repeat_megabytes_of_what_it_refuses():
    with pytest.raises(MalformedRecord) as caught:
        parse(b'{"' + b"k" * 10**6 + b'":1,"' + b"k" * 10**6 + b'":1}')
    assert len(str(caught.value)) < 500


INSIDE = {"arrays", "unicode"}
OUTSIDE = {"french", "structures", "values", "weird"}


@pytest.mark.parametrize("name", sorted(INSIDE | OUTSIDE))
def test_the_public_jcs_vectors_are_encoded_equally_or_refused(vectors, name):
    value = json.loads((vectors / "jcs" / f"{name}.input.json").read_text("utf-8"))
    expected = (vectors / "jcs" / f"{name}.output.json").read_bytes()
    if name in INSIDE:
        assert canonical(value) == expected
        assert parse(expected) == value
    else:
        with pytest.raises(MalformedRecord, match="float|ASCII"):
            canonical(value)
    if name in OUTSIDE - {"structures"}:
        with pytest.raises(MalformedRecord, match="float|ASCII"):
            parse(expected)


def test_structures_is_inside_our_subset_once_its_float_is_an_integer(vectors):
    value = json.loads((vectors / "jcs" / "structures.input.json").read_text(), parse_float=_whole)
    assert canonical(value) == (vectors / "jcs" / "structures.output.json").read_bytes()


def _whole(digits: str) -> int:
    assert float(digits).is_integer()
    return int(float(digits))


@given(st.integers() | st.floats(allow_nan=False))
def test_numbers_come_back_bit_for_bit(value):
    form = parse(canonical(number(value)))
    back = from_number(form)
    assert type(back) is type(value) and back == value
    if isinstance(value, float):
        assert struct.pack("<d", back) == struct.pack("<d", value)


def test_the_edges_of_numbers():
    assert number(2**53 - 1) == 2**53 - 1
    assert number(2**53) == {"int": "9007199254740992"}
    assert number(-(2**53)) == {"int": "-9007199254740992"}
    assert number(1.0) == {"f64": "3ff0000000000000"}
    assert number(-0.0) == {"f64": "8000000000000000"}
    payload = struct.unpack(">d", bytes.fromhex("7ff8000000001234"))[0]
    assert number(payload) == {"f64": "7ff8000000001234"}
    with pytest.raises(MalformedRecord, match="4,096 digits"):
        number(10**5000)


@pytest.mark.parametrize(
    "form",
    [
        True,
        1.5,
        "1",
        None,
        {"int": "5"},
        {"int": "9007199254740991"},
        {"int": "+9007199254740992"},
        {"int": "09007199254740992"},
        {"int": "9007199254740992 "},
        {"int": "9_007_199_254_740_992"},
        {"int": "٩٠٠٧١٩٩٢٥٤٧٤٠٩٩٢"},
        {"int": "1" * 5000},
        {"int": 2**53},
        {"f64": "3FF0000000000000"},
        {"f64": "3ff"},
        {"f64": 1},
        {"f64": "3ff0000000000000", "int": "9007199254740992"},
        {},
    ],
)
def test_a_second_spelling_of_a_number_is_refused(form):
    with pytest.raises(MalformedRecord, match="not a number"):
        from_number(form)


def test_only_numbers_are_numbers():
    for value in (True, "1", None):
        with pytest.raises(MalformedRecord, match="only an int or a float"):
            number(value)


A = canonical({"name": "a", "type": "t"})
B = canonical({"name": "b", "type": "t"})
LINES = [A, B, canonical({"name": "a", "type": "u"})]


def test_a_line_file_is_its_lines_each_with_a_newline():
    data = encode_file(LINES)
    assert data == b"".join(line + b"\n" for line in LINES)
    assert parse_file(data) == LINES
    assert [value["name"] for _, value in scan_file(data, sorted_by="name")] == ["a", "b", "a"]
    assert sha256_hex(data) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "data, cause",
    [
        (b"", "is empty"),
        (A, "does not end with a newline"),
        (A + b"\r\n", "line 1: whitespace"),
        (A + b"\n\n", "line 2: an empty line"),
        (b"\n", "line 1: an empty line"),
        (A + b"\n" + B[:-1] + b"\n", "line 2: not JSON"),
        (A + b"\n[]\n", "line 2: the line is not a JSON object"),
        (A + b'\n{"a":1}\n', "line 2: the line has no type"),
        (A + b'\n{"type":1}\n', "line 2: the line has no type"),
        (A + b"\n" + b'{"type":"t","type":"t"}\n', "line 2: the key '?type'? is repeated"),
        (A + b"\x0b" + B + b"\n", "line 1: not JSON"),
        (A + "\u2028".encode() + B + b"\n", "line 1: not JSON"),
    ],
)
def test_a_line_file_in_another_encoding_is_refused_with_its_line(data, cause):
    with pytest.raises(MalformedRecord, match=cause):
        parse_file(data)


def test_a_sorted_file_refuses_disorder_and_repetition():
    parse_file(encode_file([A, B]), sorted_by="name")
    first = canonical({"root": "r", "type": "w"})
    assert len(parse_file(encode_file([first, *LINES]), sorted_by="name")) == 4
    accented, astral = (canonical({"name": n, "type": "t"}) for n in ("\uffff", "\U00010000"))
    parse_file(encode_file([accented, astral]), sorted_by="name")
    for lines, cause in [
        ([B, A], "line 2: t a is not sorted after b"),
        ([A, A], "line 2: t a repeats a"),
        ([LINES[0], LINES[2], LINES[1]], "line 3: lines of type t do not stand together"),
        ([astral, accented], "is not sorted after"),
        ([canonical({"name": 1, "type": "t"})], "name is not a string"),
    ]:
        parse_file(encode_file(lines))
        with pytest.raises(MalformedRecord, match=cause):
            parse_file(encode_file(lines), sorted_by="name")


def test_too_many_lines_or_bytes_are_refused_before_they_are_parsed(monkeypatch):
    with pytest.raises(MalformedRecord, match="too many lines.*expected 2, got 3"):
        parse_file(encode_file(LINES), max_lines=2)
    monkeypatch.setattr("torchnotary.statement.lines.MAX_FILE_BYTES", 10)
    with pytest.raises(MalformedRecord, match="too large"):
        parse_file(encode_file(LINES))


def test_what_cannot_be_a_line_file_is_not_written():
    with pytest.raises(MalformedRecord, match="without lines"):
        encode_file([])
    with pytest.raises(MalformedRecord, match="line 2 holds a newline"):
        encode_file([A, b"a\nb"])


def _reference_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, written as it is written there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = _reference_root(hashes[:split]), _reference_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_a_tree_is_the_rfc_9162_root_of_the_lines_with_their_number(size):
    lines = [canonical({"n": i, "type": "t"}) for i in range(size)]
    hashes = [hashlib.sha256(b"\x00" + line).digest() for line in lines]
    tree = tree_of(lines)
    assert tree == Tree(_reference_root(hashes).hex(), size)
    assert Tree.from_json(parse(canonical(tree.to_json()))) == tree


def test_a_tree_without_lines_or_in_another_form_is_refused():
    with pytest.raises(MalformedRecord, match="without lines"):
        tree_of([])
    good = {"root": "0" * 64, "size": 1}
    for bad in (
        None,
        {"root": "0" * 64},
        {**good, "more": 1},
        {**good, "size": 0},
        {**good, "size": True},
        {**good, "size": "1"},
        {**good, "size": 2**53},
        {**good, "root": "0" * 63},
        {**good, "root": "A" * 64},
        {**good, "root": 5},
    ):
        with pytest.raises(MalformedRecord):
            Tree.from_json(bad)


@pytest.mark.parametrize("depth", [900, 985, 1_000, 5_000])
def test_what_a_repeated_key_hides_may_be_nested_at_any_depth(depth):
    for inner in (b"[" * depth + b"]" * depth, b'{"b":' * depth + b"1" + b"}" * depth):
        with pytest.raises(MalformedRecord):
            parse(b'{"a":' + inner + b',"a":1}')


def test_what_a_repeated_key_hides_may_be_a_number_of_any_length():
    with pytest.raises(MalformedRecord):
        parse(b'{"a":' + b"9" * 5_000 + b',"a":1}')


def test_parsing_deep_in_a_stack_refuses_as_it_does_at_the_top():
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH

    def down(levels: int):
        return parse(deepest) if levels == 0 else down(levels - 1)

    assert down(sys.getrecursionlimit() // 2) == parse(deepest)
