"""bundle.json: the signed envelope, the log's proof for it, and the keys to check both with.

The keys serve integrity only: whom they belong to is for the verifier's policy to say.

    {"attestations":[],"envelope":{DSSE},"logPublicKey":SPKI,"publicKey":SPKI,"timestamps":[],
     "tlogProof":TEXT,"type":"bundle/1"}

SPKI is base64 of the DER encoding; TEXT is a C2SP tlog-proof. Two members more are there only
where they say something: ``batch`` (the record's own payload and its proof, where the envelope
signs a batch) and ``witnesses`` (``{"name","publicKey"}`` of every cosignature in the proof's
checkpoint, sorted).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import MalformedRecord
from .batch import BatchPart
from .envelope import Envelope, decode_base64, encode_base64
from .lines import brief, canonical, parse_object, require_object

BUNDLE_TYPE = "bundle/1"
MAX_KEY_BYTES = 1024
MAX_PROOF_CHARACTERS = 1 << 20
MAX_WITNESSES = 32
MAX_NAME_CHARACTERS = 256
_MEMBERS = (
    "attestations",
    "envelope",
    "logPublicKey",
    "publicKey",
    "timestamps",
    "tlogProof",
    "type",
)
_OPTIONAL = ("batch", "witnesses")


@dataclass(frozen=True)
class Bundle:
    """A record's envelope and proof; ``public_key``, ``log_public_key`` and the keys of
    ``witnesses``, which are (name, key), are SPKI DER."""

    envelope: Envelope
    public_key: bytes
    log_public_key: bytes
    tlog_proof: str
    batch: BatchPart | None = None
    witnesses: tuple[tuple[str, bytes], ...] = ()

    @property
    def payload(self) -> bytes:
        """The record's statement: what the envelope signs, or what it signs a batch of."""
        return self.envelope.payload if self.batch is None else self.batch.payload

    def to_json(self) -> dict[str, Any]:
        optional = {}
        if self.batch is not None:
            optional["batch"] = self.batch.to_json()
        if self.witnesses:
            optional["witnesses"] = [
                {"name": name, "publicKey": encode_base64(key)} for name, key in self.witnesses
            ]
        return {
            "attestations": [],
            "envelope": self.envelope.to_json(),
            "logPublicKey": encode_base64(self.log_public_key),
            "publicKey": encode_base64(self.public_key),
            "timestamps": [],
            "tlogProof": self.tlog_proof,
            "type": BUNDLE_TYPE,
            **optional,
        }

    def encode(self) -> bytes:
        return canonical(self.to_json())

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """The bundle of bundle.json's bytes; MalformedRecord for anything but its one form."""
        return cls.from_json(parse_object(data, "bundle.json"))

    @classmethod
    def from_json(cls, value: Any) -> Bundle:
        require_object(value, "bundle.json")
        present = [name for name in _OPTIONAL if name in value]
        require_object(value, "bundle.json", (*_MEMBERS, *present))
        if value["type"] != BUNDLE_TYPE:
            raise MalformedRecord(
                "unknown bundle version",
                expected=BUNDLE_TYPE,
                actual=str(value["type"])[:100],
                next_step="use the torchnotary version that wrote it",
            )
        for name in ("attestations", "timestamps"):
            if value[name] != []:
                raise MalformedRecord(
                    f"{name} are not known to this version",
                    next_step="use the torchnotary version that wrote it",
                )
        proof = value["tlogProof"]
        if not isinstance(proof, str) or len(proof) > MAX_PROOF_CHARACTERS:
            raise MalformedRecord("tlogProof is not a text of reasonable size")
        return cls(
            Envelope.from_json(value["envelope"]),
            decode_base64(value["publicKey"], "publicKey", MAX_KEY_BYTES),
            decode_base64(value["logPublicKey"], "logPublicKey", MAX_KEY_BYTES),
            proof,
            BatchPart.from_json(value["batch"]) if "batch" in value else None,
            _witnesses(value["witnesses"]) if "witnesses" in value else (),
        )


def _witnesses(value: Any) -> tuple[tuple[str, bytes], ...]:
    if type(value) is not list or not 0 < len(value) <= MAX_WITNESSES:
        raise MalformedRecord(
            "witnesses are not a list, or too long a one",
            expected=f"1 to {MAX_WITNESSES}",
            actual=len(value) if type(value) is list else brief(value),
        )
    found = []
    for item in value:
        require_object(item, "a witness", ("name", "publicKey"))
        name = item["name"]
        if type(name) is not str or not 0 < len(name) <= MAX_NAME_CHARACTERS:
            raise MalformedRecord("a witness has no name of reasonable size", actual=brief(name))
        found.append((name, decode_base64(item["publicKey"], "a witness's key", MAX_KEY_BYTES)))
    if found != sorted(set(found)):
        raise MalformedRecord("witnesses stand sorted, each once", actual=brief(found))
    return tuple(found)
