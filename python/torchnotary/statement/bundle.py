"""bundle.json: the signed envelope, the log's proof for it, and the keys to check both with.

The keys serve integrity only: whom they belong to is for the verifier's policy to say.

    {"attestations":[],"envelope":{DSSE},"logPublicKey":SPKI,"publicKey":SPKI,"timestamps":[],
     "tlogProof":TEXT,"type":"bundle/1"}

SPKI is base64 of the DER encoding; TEXT is a C2SP tlog-proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import MalformedRecord
from .envelope import Envelope, decode_base64, encode_base64
from .lines import canonical, parse_object, require_object

BUNDLE_TYPE = "bundle/1"
MAX_KEY_BYTES = 1024
MAX_PROOF_CHARACTERS = 1 << 20
_MEMBERS = (
    "attestations",
    "envelope",
    "logPublicKey",
    "publicKey",
    "timestamps",
    "tlogProof",
    "type",
)


@dataclass(frozen=True)
class Bundle:
    """A record's envelope and proof; ``public_key`` and ``log_public_key`` are SPKI DER."""

    envelope: Envelope
    public_key: bytes
    log_public_key: bytes
    tlog_proof: str

    def to_json(self) -> dict[str, Any]:
        return {
            "attestations": [],
            "envelope": self.envelope.to_json(),
            "logPublicKey": encode_base64(self.log_public_key),
            "publicKey": encode_base64(self.public_key),
            "timestamps": [],
            "tlogProof": self.tlog_proof,
            "type": BUNDLE_TYPE,
        }

    def encode(self) -> bytes:
        return canonical(self.to_json())

    @classmethod
    def decode(cls, data: bytes) -> Bundle:
        """The bundle of bundle.json's bytes; MalformedRecord for anything but its one form."""
        return cls.from_json(parse_object(data, "bundle.json"))

    @classmethod
    def from_json(cls, value: Any) -> Bundle:
        require_object(value, "bundle.json", _MEMBERS)
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
        )
