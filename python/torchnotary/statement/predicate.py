"""The inference record as an in-toto Statement: which sections it has and what they claim.

Statement v1: https://in-toto.io/Statement/v1; docs/formats.md lists the predicate's fields.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from typing import Any

from ..errors import MalformedRecord

MAX_CALLS = 4096
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:torchnotary:inference-record:v1"
LINE_FILES = ("inputs.jsonl", "outputs.jsonl", "structure.jsonl", "trace.jsonl", "weights.jsonl")
SECTIONS = (
    "claim",
    "code",
    "evidence",
    "execution",
    "inputs",
    "model",
    "outputs",
    "record",
    "time",
    "trace",
)
CLAIM = {
    "not_claimed": [
        "that the computation happened",
        "when it happened, beyond the signer's clock",
        "that no other computation was run instead",
    ],
    "type": "self_attested",
}


def utc(nanoseconds: int) -> str:
    """RFC 3339 time in UTC with microseconds, from nanoseconds since the epoch."""
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{nanoseconds // 1000 % 1_000_000:06d}Z"


def statement(predicate: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """The statement over a predicate and the line files (name to bytes) it speaks of."""
    return {
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": PREDICATE_TYPE,
        "subject": [
            {"digest": {"sha256": hashlib.sha256(files[name]).hexdigest()}, "name": name}
            for name in sorted(files)
        ],
    }


def check_statement(document: Any) -> dict[str, Any]:
    """The document if it has the shape of an inference record, else MalformedRecord."""
    _require(isinstance(document, dict), "the statement is not a JSON object")
    _require(
        set(document) == {"_type", "predicate", "predicateType", "subject"},
        "the statement has other members than an in-toto Statement",
        sorted(document),
    )
    _require(document["_type"] == STATEMENT_TYPE, "unknown statement type", document["_type"])
    _require(
        document["predicateType"] == PREDICATE_TYPE,
        "unknown predicate type or version",
        document["predicateType"],
    )
    _check_subjects(document["subject"])
    predicate = document["predicate"]
    _require(isinstance(predicate, dict), "the predicate is not a JSON object")
    _require(
        tuple(sorted(predicate)) == SECTIONS,
        "the predicate has other sections than an inference record",
        sorted(predicate),
    )
    _check_sections(predicate, {s["name"] for s in document["subject"]})
    return document


def _check_subjects(subjects: Any) -> None:
    _require(
        isinstance(subjects, list) and len(subjects) <= len(LINE_FILES),
        "the subject is not a short list",
    )
    names = []
    for subject in subjects:
        _require(
            isinstance(subject, dict)
            and set(subject) == {"digest", "name"}
            and isinstance(subject["name"], str)
            and isinstance(subject["digest"], dict)
            and set(subject["digest"]) == {"sha256"}
            and is_hex(subject["digest"]["sha256"], 32),
            "a subject is not a name with a SHA-256",
            subject,
        )
        names.append(subject["name"])
    _require(
        names == sorted(set(names)) and set(names) <= set(LINE_FILES),
        "the subjects are not line files, each once and sorted",
        names,
    )


def _check_sections(predicate: dict[str, Any], subjects: set[str]) -> None:
    roots = {"inputs": predicate["inputs"], "outputs": predicate["outputs"]}
    roots["trace"] = predicate["trace"]
    model = predicate["model"]
    _require(model is None or isinstance(model, dict), "the model section is not an object")
    for name in ("weights", "structure"):
        roots[name] = model.get(name) if model else None
    for name, root in roots.items():
        _require(
            root is None
            or (
                isinstance(root, dict)
                and set(root) == {"root", "size"}
                and is_hex(root["root"], 32)
                and type(root["size"]) is int
                and root["size"] > 0
            ),
            f"the {name} root is not a root with its size",
            root,
        )
        _require(
            (root is not None) == (f"{name}.jsonl" in subjects),
            f"the {name} root and the subject {name}.jsonl do not go together",
        )
    record = predicate["record"]
    _require(
        isinstance(record, dict)
        and is_hex(record.get("blind"), 32)
        and is_hex(record.get("stream"), 16)
        and isinstance(record.get("labels"), dict)
        and isinstance(record.get("log"), str)
        and isinstance(record.get("seq"), int)
        and "nonce" in record
        and (record["nonce"] is None or (is_hex(record["nonce"]) and record["nonce"] != ""))
        and (record.get("calls") is None or _is_count(record["calls"])),
        "the record section lacks stream, seq, blind, log, nonce, labels or calls in their form",
    )
    for name in ("time", "code", "execution", "claim"):
        _require(isinstance(predicate[name], dict), f"the {name} section is not an object")
    single = predicate["execution"].get("calls", [])
    _require(
        isinstance(single, list) and all(_speaks_of_a_call(entry) for entry in single),
        "the execution section has no list of objects about single calls",
    )
    _require(
        all(isinstance(predicate["time"].get(end), str) for end in ("start", "end")),
        "the time section lacks start and end",
    )
    _require(
        predicate["evidence"] in ("commitments", "full"),
        "unknown evidence mode",
        predicate["evidence"],
    )


def _speaks_of_a_call(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("call")) is int
        and isinstance(entry.get("outcome", {}), dict)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_CALLS


def is_hex(value: Any, length: int | None = None) -> bool:
    """Whether a value is lower-case hex text (of ``length`` bytes)."""
    if not isinstance(value, str) or (length and len(value) != 2 * length):
        return False
    return _HEX.fullmatch(value) is not None


def _require(condition: bool, cause: str, actual: Any = None) -> None:
    if not condition:
        shown = None if actual is None else repr(actual)[:200]
        raise MalformedRecord(
            cause,
            actual=shown,
            next_step="ask for the record again; this one does not follow docs/formats.md",
        )
