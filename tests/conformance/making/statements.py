"""Statements that were signed and say what no inference record can say."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad
from .draft import Draft
from .edits import Edit, at, drop, put
from .genuine import CALL, DIGESTS, LOGGED, MODELLED, OPEN, PLAIN, TRACED
from .identities import OTHER_LOG, fixed

_HEX = fixed("something else").hex()


def cases() -> Iterator[Case]:
    yield from _versions()
    yield from _subjects()
    yield from _sections()
    yield from _roots()


def _signed(name: str, why: str, edit: Edit, record: Draft = PLAIN, step: str = "format") -> Case:
    return bad(f"statement-{name}", step, why, record.but(statement=edit))


def _versions() -> Iterator[Case]:
    for name, why, edit in (
        ("type-v0.1", "an older in-toto Statement",
         put("_type", "https://in-toto.io/Statement/v0.1")),
        ("type-null", "no type", put("_type", None)),
        ("type-missing", "the type is missing", drop("_type")),
        ("predicate-type-v2", "a version that does not exist",
         put("predicateType", "urn:torchnotary:inference-record:v2")),
        ("predicate-type-slsa", "a statement about how something was built",
         put("predicateType", "https://slsa.dev/provenance/v1")),
        ("predicate-type-reproduction", "a statement about a run that was repeated",
         put("predicateType", "urn:torchnotary:reproduction:v1")),
        ("predicate-missing", "there is no predicate", drop("predicate")),
        ("predicate-list", "the predicate is a list", put("predicate", [])),
        ("member-added", "a member in-toto does not have", put("comment", "")),
    ):  # fmt: skip
        yield _signed(name, why, edit)


def _subjects() -> Iterator[Case]:
    def swap(subjects: list) -> list:
        return subjects[::-1]

    digest = ("subject", 0, "digest")
    for name, why, edit in (
        ("subject-missing", "there is no subject", drop("subject")),
        ("subject-empty", "roots without their files", put("subject", [])),
        ("subject-repeated", "one file twice", at("subject", lambda s: [s[0], *s])),
        ("subject-unsorted", "the files are not sorted", at("subject", swap)),
        ("subject-unknown", "a file no record has", put("subject", 0, "name", "aaa.jsonl")),
        ("subject-without-root", "a file whose root is not signed",
         put("predicate", "inputs", None)),
        ("root-without-subject", "a root whose file is not signed", drop("subject", 0)),
        ("subject-member-added", "a subject that says where it can be had",
         put("subject", 0, "uri", "https://example.org/inputs.jsonl")),
        ("subject-two-digests", "two digests of one file", put(*digest, "sha512", "00" * 64)),
        ("subject-sha1", "a digest by SHA-1", put(*digest, {"sha1": "00" * 20})),
        ("subject-digest-short", "half of a digest", put(*digest, "sha256", "00" * 16)),
        ("subject-digest-upper-case", "a second spelling of a digest",
         at(*digest, "sha256", str.upper)),
        ("subject-name-missing", "a file without a name", drop("subject", 0, "name")),
    ):  # fmt: skip
        yield _signed(name, why, edit, CALL)


def _sections() -> Iterator[Case]:
    for section in ("claim", "code", "evidence", "execution", "model", "record", "time", "trace"):
        yield _signed(f"without-{section}", f"{section} is missing", drop("predicate", section))
    for section in ("claim", "code", "execution", "record", "time"):
        yield _signed(f"{section}-list", f"{section} is a list", put("predicate", section, []))
    for name, why, *path_and_value in (
        ("section-added", "a section no version has", "review", {}),
        ("model-true", "the model is true", "model", True),
        ("stream-short", "a stream of 8 bytes", "record", "stream", "00" * 8),
        ("blind-short", "a blind of 16 bytes", "record", "blind", "00" * 16),
        ("log-null", "no log", "record", "log", None),
        ("seq-text", "the number of the record is text", "record", "seq", "0"),
        ("nonce-odd", "a nonce of half a byte too much", "record", "nonce", "abc"),
        ("nonce-upper-case", "a second spelling of a nonce", "record", "nonce", "AB"),
        ("nonce-empty", "a nonce that challenges nobody", "record", "nonce", ""),
        ("calls-zero", "a group of no calls", "record", "calls", 0),
        ("calls-true", "a group of true calls", "record", "calls", True),
        ("calls-too-many", "a group of more calls than a record has", "record", "calls", 4097),
        ("start-number", "the time is a number", "time", "start", 1763719320),
        ("evidence-unknown", "an unknown mode of evidence", "evidence", "partial"),
        (
            "calls-of-nobody",
            "what is said of a call does not say of which",
            "execution",
            "calls",
            [{}],
        ),
    ):
        yield _signed(name, why, put("predicate", *path_and_value))
    for member in ("blind", "labels", "log", "nonce", "seq", "stream"):
        yield _signed(
            f"without-{member}", f"record.{member} is missing", drop("predicate", "record", member)
        )
    for member in ("start", "end"):
        yield _signed(
            f"without-{member}", f"time.{member} is missing", drop("predicate", "time", member)
        )


def _roots() -> Iterator[Case]:
    for name, why, tree in (
        ("root-short", "half of a root", {"root": "00" * 16, "size": 1}),
        ("root-upper-case", "a second spelling of a root", {"root": "AB" * 32, "size": 1}),
        ("root-size-zero", "the root of an empty tree", {"root": _HEX, "size": 0}),
        ("root-size-negative", "less than no lines", {"root": _HEX, "size": -1}),
        (
            "root-member-added",
            "a root of another algorithm",
            {"algorithm": "md5", "root": _HEX, "size": 1},
        ),
    ):
        yield _signed(name, why, put("predicate", "outputs", tree))
    for tree, step, record, *section in (
        ("inputs", "inputs", DIGESTS),
        ("outputs", "outputs", DIGESTS),
        ("trace", "format", TRACED),
        ("weights", "weights", MODELLED.but(disclose=("weights",)), "model"),
        ("structure", "structure", MODELLED, "model"),
    ):
        root = put("predicate", *section, tree, "root", _HEX)
        size = at("predicate", *section, tree, "size", lambda size: size + 1)
        digest = at("subject", _with_digest(f"{tree}.jsonl", _HEX))
        for part, edit in (("root", root), ("size", size), ("SHA-256", digest)):
            why = f"{tree}.jsonl has another {part} than was signed"
            yield _signed(f"{tree}-{part.lower()}-wrong", why, edit, record, step)
    yield _signed(
        "inputs-and-outputs-exchanged",
        "roots and digests under each other's names",
        _exchange,
        OPEN,
        "inputs, outputs",
    )
    yield bad(
        "cross-log",
        "log inclusion",
        "an entry of another log than the statement names",
        LOGGED.but(statement=put("predicate", "record", "log", f"torchnotary.log/{_HEX[:32]}")),
    )
    yield bad(
        "cross-log-replayed",
        "log inclusion",
        "the statement names one log, and was entered into a second one",
        LOGGED.but(
            log=OTHER_LOG,
            index=0,
            size=1,
            statement=put("predicate", "record", "log", LOGGED.origin),
        ),
    )


def _with_digest(name: str, digest: str) -> Edit:
    def edit(subjects: list[dict]) -> None:
        next(s for s in subjects if s["name"] == name)["digest"]["sha256"] = digest

    return edit


def _exchange(statement: dict) -> None:
    predicate, (first, second) = statement["predicate"], statement["subject"]
    predicate["inputs"], predicate["outputs"] = predicate["outputs"], predicate["inputs"]
    first["digest"], second["digest"] = second["digest"], first["digest"]
