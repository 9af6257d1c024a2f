"""Many records under one signature: a batch statement over the tree of their ids.

``sign_every=N`` signs and logs one statement for up to N records. Its subject is
``records.jsonl``, one line ``{"record":<record id>,"type":"record/1"}`` a record in their order,
and its predicate that tree's root and size and the log's origin. A record then travels as its own
payload with an inclusion proof (RFC 9162 §2.1.3) for its line, beside the signed envelope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import merkle
from ..errors import MalformedRecord, NotaryError
from .envelope import MAX_PAYLOAD_BYTES, decode_base64, encode_base64
from .lines import Tree, brief, canonical, encode_file, parse_object, require_object, sha256_hex
from .predicate import STATEMENT_TYPE

PREDICATE_TYPE = "urn:torchnotary:batch:v1"
RECORDS = "records.jsonl"
# A batch is one transaction, and what a crash before its signature loses.
MAX_RECORDS = 8192
_MAX_HASHES = MAX_RECORDS.bit_length()


def record_line(record_id: str) -> bytes:
    """A record's line in ``records.jsonl``."""
    return b'{"record":"%b","type":"record/1"}' % record_id.encode()


@dataclass(frozen=True)
class BatchStatement:
    """What is signed for a batch: its payload, and the tree its records are proven in."""

    payload: bytes
    origin: str
    records: Tree

    @classmethod
    def of(cls, record_ids: Sequence[str], origin: str) -> BatchStatement:
        """The statement for these records, at most 8,192, in their order."""
        if not 0 < len(record_ids) <= MAX_RECORDS:
            raise NotaryError(
                "a batch has too few or too many records",
                expected=f"1 to {MAX_RECORDS}",
                actual=len(record_ids),
                next_step="use a smaller sign_every",
            )
        lines = [record_line(record_id) for record_id in record_ids]
        tree = Tree(merkle.root(lines).hex(), len(lines))
        document = {
            "_type": STATEMENT_TYPE,
            "predicate": {"log": origin, "records": tree.to_json()},
            "predicateType": PREDICATE_TYPE,
            "subject": [{"digest": {"sha256": sha256_hex(encode_file(lines))}, "name": RECORDS}],
        }
        return cls(canonical(document), origin, tree)

    @classmethod
    def parse(cls, payload: bytes) -> BatchStatement:
        """The statement in a verified envelope; MalformedRecord where it is not of a batch."""
        what = "the batch statement"
        document = parse_object(payload, what, ("_type", "predicate", "predicateType", "subject"))
        for member, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
            if document[member] != expected:
                raise MalformedRecord(
                    f"{what} has another {member}",
                    expected=expected,
                    actual=brief(document[member]),
                )
        predicate = require_object(document["predicate"], what, ("log", "records"))
        if type(predicate["log"]) is not str:
            raise MalformedRecord(f"{what} names no log", actual=brief(predicate["log"]))
        tree = Tree.from_json(predicate["records"], RECORDS)
        if tree.size > MAX_RECORDS:
            raise MalformedRecord(
                "a batch has too many records", expected=MAX_RECORDS, actual=tree.size
            )
        _check_subject(document["subject"])
        return cls(payload, predicate["log"], tree)


@dataclass(frozen=True)
class BatchPart:
    """A record that a batch was signed for: its payload, its place and its inclusion proof."""

    payload: bytes
    index: int
    hashes: tuple[bytes, ...]

    @property
    def record_id(self) -> str:
        return sha256_hex(self.payload)

    def verify(self, signed: BatchStatement) -> None:
        """Returns if the record is the one at ``index`` of the batch that was signed; raises
        MalformedProof or RootMismatch. Root and size come from the signed statement alone."""
        leaf = merkle.leaf_hash(record_line(self.record_id))
        tree = signed.records
        root = bytes.fromhex(tree.root)
        merkle.verify_inclusion(self.index, tree.size, leaf, list(self.hashes), root)

    def to_json(self) -> dict[str, Any]:
        return {
            "hashes": [encode_base64(digest) for digest in self.hashes],
            "index": self.index,
            "payload": encode_base64(self.payload),
        }

    @classmethod
    def from_json(cls, value: Any) -> BatchPart:
        """The part as bundle.json has it; MalformedRecord for anything but its one form."""
        require_object(value, "the bundle's batch", ("hashes", "index", "payload"))
        index, hashes = value["index"], value["hashes"]
        if type(index) is not int or not 0 <= index < MAX_RECORDS:
            raise MalformedRecord(
                "the record's index in its batch is not one",
                expected=f"0 to {MAX_RECORDS - 1}",
                actual=brief(index),
            )
        if type(hashes) is not list or len(hashes) > _MAX_HASHES:
            raise MalformedRecord("the batch's hashes are not a short list", actual=brief(hashes))
        decoded = tuple(decode_base64(text, "a hash of the batch", 32) for text in hashes)
        if any(len(digest) != 32 for digest in decoded):
            raise MalformedRecord("a hash of the batch has 32 bytes")
        payload = decode_base64(value["payload"], "the record's payload", MAX_PAYLOAD_BYTES)
        return cls(payload, index, decoded)


def _check_subject(subject: Any) -> None:
    if type(subject) is not list or len(subject) != 1:
        raise MalformedRecord("the batch statement has one subject", actual=brief(subject))
    named = require_object(subject[0], "the batch's subject", ("digest", "name"))
    digest = require_object(named["digest"], "the digest of the batch's subject", ("sha256",))
    Tree.from_json({"root": digest["sha256"], "size": 1}, "the batch's subject")
    if named["name"] != RECORDS:
        raise MalformedRecord(
            "the batch's subject has another name", expected=RECORDS, actual=brief(named["name"])
        )
