"""JSON that two parsers read differently, in the three places where a record has it."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad
from .edits import Edit, instead
from .genuine import DIGESTS, PLAIN

# One of each kind; the statement, which is signed, has them all.
_SOME = {
    "byte-order-mark",
    "carriage-return",
    "float",
    "key-escaped",
    "key-not-ascii",
    "key-repeated",
    "key-repeated-escaped",
    "keys-unsorted",
    "minus-zero",
    "nan",
    "nested-65",
    "not-utf8",
    "second-document",
    "space-after",
    "surrogate-half",
    "2-to-the-53",
}


def cases() -> Iterator[Case]:
    for name, why, edit in _tricks(b'"type":"bundle/1"'):
        if name in _SOME:
            record = PLAIN.but(text=edit)
            yield bad(f"json-bundle-{name}", "format", f"bundle.json: {why}", record)
    for name, why, edit in _tricks(b'"world_size":1'):
        yield bad(
            f"json-statement-{name}",
            "format",
            f"the statement as it was signed: {why}",
            PLAIN.but(payload=edit),
        )
    for name, why, edit in _tricks(b'"path":"output"'):
        if name in _SOME:
            yield bad(
                f"json-line-{name}",
                "outputs",
                f"outputs.jsonl as it was signed: {why}",
                DIGESTS.but(files=_line(edit)),
            )


def _line(edit: Edit) -> Edit:
    """Edits the only line of outputs.jsonl."""

    def change(files: dict[str, bytes]) -> None:
        files["outputs.jsonl"] = edit(files["outputs.jsonl"].removesuffix(b"\n")) + b"\n"

    return change


def _tricks(member: bytes) -> Iterator[tuple[str, str, Edit]]:
    """Each trick as an edit of a canonical object that holds ``member`` once."""
    key, _, value = member.partition(b":")

    def beside(more: bytes) -> Edit:
        return instead(member, member + b"," + more)

    def before(more: bytes) -> Edit:
        return instead(member, more + b"," + member)

    def as_value(other: bytes) -> Edit:
        return instead(member, key + b":" + other)

    def as_key(other: bytes) -> Edit:
        return instead(member, other + b":" + value)

    text = value if value[:1] == b'"' else b'"' + value + b'"'
    yield "key-repeated", "a key stands there twice, with two values", beside(key + b':"x"')
    yield "key-repeated-before", "the other value comes first", before(key + b':"x"')
    yield "key-repeated-alike", "a key stands there twice, with one value", beside(member)
    yield (
        "key-repeated-escaped",
        "the same key, spelled in two ways",
        beside(b'"\\u%04x' % key[1] + key[2:] + b':"x"'),
    )
    yield (
        "key-escaped",
        "a key with an escape it does not need",
        as_key(b'"\\u%04x' % key[1] + key[2:]),
    )
    yield "key-not-ascii", "a key with an accent", beside('"ké":1'.encode())
    yield "keys-unsorted", "a key that sorts before stands after", beside(b'"a":1')
    yield (
        "value-escaped",
        "a value with an escape it does not need",
        as_value(b'"\\u%04x' % text[1] + text[2:]),
    )
    yield "slash-escaped", "a slash is escaped", as_value(b'"a\\/b"')
    yield "escape-upper-case", "an escape in upper case", as_value(b'"\\u001F"')
    yield "newline-long-escape", "a line end as \\u000a", as_value(b'"\\u000a"')
    yield "surrogate-half", "half of a surrogate pair", as_value(b'"\\ud800"')
    yield (
        "surrogates-reversed",
        "a surrogate pair in the other order",
        as_value(b'"\\udc00\\ud800"'),
    )
    yield (
        "surrogate-pair-escaped",
        "a character written as two escapes",
        as_value(b'"\\ud83d\\ude00"'),
    )
    yield "surrogate-raw", "a surrogate as three bytes", as_value(b'"\xed\xa0\x80"')
    yield "not-utf8", "a byte that is not UTF-8", as_value(b'"\xff"')
    yield "overlong", "a slash of two bytes", as_value(b'"\xc0\xaf"')
    yield "control-character", "a tab that is not escaped", as_value(b'"\t"')
    yield "byte-order-mark", "a byte order mark before it", lambda d: b"\xef\xbb\xbf" + d
    yield "utf16", "UTF-16", lambda d: d.decode().encode("utf-16")
    yield "space-before", "a space before it", lambda d: b" " + d
    yield "space-after", "a space after it", lambda d: d + b" "
    yield "space-inside", "a space after a colon", as_value(b" " + value)
    yield "carriage-return", "a carriage return after it", lambda d: d + b"\r"
    yield "nul-after", "a NUL after it", lambda d: d + b"\0"
    yield "second-document", "a second document after it", lambda d: d + b"{}"
    yield "comma-after-last", "a comma after the last member", lambda d: d[:-1] + b",}"
    yield "comment", "a comment", instead(member, b"/**/" + member)
    yield "single-quotes", "single quotes", as_value(b"'x'")
    yield "no-quotes", "a key without quotes", as_key(key[1:-1])
    yield "cut-short", "the last brace is missing", lambda d: d[:-1]
    yield "in-a-list", "a list around the object", lambda d: b"[" + d + b"]"
    yield "float", "a number with a point", as_value(b"1.0")
    yield "exponent", "a number with an exponent", as_value(b"1e0")
    yield "minus-zero", "minus zero", as_value(b"-0")
    yield "leading-zero", "a number with a zero before it", as_value(b"01")
    yield "plus-sign", "a number with a plus sign", as_value(b"+1")
    yield "hexadecimal", "a hexadecimal number", as_value(b"0x1")
    yield "nan", "NaN", as_value(b"NaN")
    yield "infinity", "an infinity", as_value(b"-Infinity")
    yield (
        "2-to-the-53",
        "an integer that binary64 does not tell from the next",
        as_value(b"9007199254740992"),
    )
    yield "integer-huge", "an integer of 5,000 digits", as_value(b"1" * 5000)
    yield "true-upper-case", "Python's True", as_value(b"True")
    yield "undefined", "JavaScript's undefined", as_value(b"undefined")
    yield "nested-65", "65 lists in one another", as_value(b"[" * 65 + b"]" * 65)
    yield "nested-2000", "2,000 lists in one another", as_value(b"[" * 2000 + b"]" * 2000)
