"""Records that carry a trace written by the reference, as a signer of anything could make them."""

from __future__ import annotations

import hashlib
from typing import Any

from torchnotary.statement import container
from torchnotary.statement.openings import encode_openings
from torchnotary.statement.record import Record
from trace_reference import ReferenceTrace
from verifier_helpers import resigned

FACTS = {"left_out": 0, "level": "operators", "opaque": [], "outside": 0, "threads": 0}


def traced(path, trace: ReferenceTrace, *, level: str = "operators", **changes: Any) -> bytes:
    """The bytes of the record at ``path`` with that trace signed into it, file and openings
    travelling; ``file``, ``openings``, ``root``, ``size`` and ``sha256`` say otherwise."""
    data = changes.get("file", trace.file)
    claimed = {"root": changes.get("root", trace.root), "size": changes.get("size", trace.size)}

    def sign(statement: dict[str, Any]) -> None:
        predicate = statement["predicate"]
        predicate["trace"] = claimed
        predicate["execution"]["trace"] = {**FACTS, "level": level}
        digest = changes.get("sha256", hashlib.sha256(data).hexdigest())
        subject = {"digest": {"sha256": digest}, "name": "trace.jsonl"}
        statement["subject"] = sorted(
            [*statement["subject"], subject], key=lambda subject: subject["name"]
        )

    members = container.unpack(resigned(path, sign))
    openings = {**Record.load(path).openings, "trace": changes.get("openings", trace.openings)}
    if openings["trace"] is None:
        del openings["trace"]
    if openings:
        members["openings.jsonl"] = encode_openings(openings)
    if data is not None:
        members["trace.jsonl"] = data
    return container.pack(members)
