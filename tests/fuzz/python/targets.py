"""What each fuzz target decodes, and the property it requires.

A target takes any bytes. It may raise NotaryError, which refuses them. What it accepts it encodes
again, and returns; the harness requires the same bytes. Targets whose format has no encoder return
what they were given.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from torchnotary import lockfile, manifest, verify
from torchnotary.interop import oms
from torchnotary.keys import PublicKey
from torchnotary.keys.rotation import Rotation
from torchnotary.log.checkpoint import Checkpoint, SignedNote
from torchnotary.log.proofs import ConsistencyProof, TlogProof
from torchnotary.log.revocation import Revocation
from torchnotary.log.tiles import decode_bundle, encode_bundle
from torchnotary.log.witness import WitnessKey
from torchnotary.statement import container
from torchnotary.statement.batch import BatchStatement
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.envelope import Envelope, encode_base64
from torchnotary.statement.evidence import decode_evidence, encode_evidence
from torchnotary.statement.lines import canonical, encode_file, parse, scan_file
from torchnotary.statement.openings import decode_openings, encode_openings
from torchnotary.statement.predicate import check_statement
from torchnotary.statement.record import Record
from torchnotary.statement.row_opening import RowOpening
from torchnotary.statement.trace import trace_lines
from torchnotary.statement.values import leaf_lines
from torchnotary.verifier.policy import Policy

Target = Callable[[bytes], bytes]
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def _text(data: bytes) -> str:
    """Texts come out of JSON, so that they are always Unicode; lone surrogates are among them."""
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@target
def members(data: bytes) -> bytes:
    return container.pack(container.unpack(data))


@target
def bundle(data: bytes) -> bytes:
    return Bundle.decode(data).encode()


@target
def envelope(data: bytes) -> bytes:
    return canonical(Envelope.from_json(parse(data)).to_json())


@target
def line(data: bytes) -> bytes:
    return canonical(parse(data))


@target
def line_file(data: bytes) -> bytes:
    return encode_file([line for line, _ in scan_file(data, sorted_by="name")])


@target
def log_proof(data: bytes) -> bytes:
    proof = TlogProof.from_text(_text(data))
    SignedNote.parse(proof.checkpoint)
    return _bytes(proof.to_text())


@target
def note(data: bytes) -> bytes:
    signed = SignedNote.parse(_text(data))
    lines = (f"— {who} {encode_base64(key_id + sig)}\n" for who, key_id, sig in signed.signatures)
    return _bytes("".join([signed.text, "\n", *lines]))


@target
def checkpoint(data: bytes) -> bytes:
    return _bytes(Checkpoint.parse(_text(data)).text)


@target
def consistency(data: bytes) -> bytes:
    proof = ConsistencyProof.from_text(_text(data))
    SignedNote.parse(proof.checkpoint)
    return _bytes(proof.to_text())


@target
def witness(data: bytes) -> bytes:
    return _bytes(WitnessKey.from_vkey(_text(data)).vkey())


@target
def revocation(data: bytes) -> bytes:
    return Revocation.decode(data).encode()


@target
def rotation(data: bytes) -> bytes:
    return Rotation.decode(data).encode()


@target
def entries(data: bytes) -> bytes:
    return encode_bundle(decode_bundle(data))


@target
def batch(data: bytes) -> bytes:
    BatchStatement.parse(data)
    return data


@target
def openings(data: bytes) -> bytes:
    return encode_openings(decode_openings(data))


@target
def evidence(data: bytes) -> bytes:
    trees = decode_evidence(data)
    return encode_evidence(trees.get("inputs"), trees.get("outputs"))


@target
def leaves(data: bytes) -> bytes:
    lines = list(scan_file(data))
    leaf_lines([value for _, value in lines], "inputs.jsonl")
    return encode_file([line for line, _ in lines])


@target
def trace(data: bytes) -> bytes:
    lines = list(scan_file(data))
    trace_lines(value for _, value in lines)
    return encode_file([line for line, _ in lines])


@target
def weights(data: bytes) -> bytes:
    return encode_file(manifest.parse_weights(data))


@target
def structure(data: bytes) -> bytes:
    return encode_file(manifest.parse_structure(data))


@target
def row_opening(data: bytes) -> bytes:
    opening = RowOpening.decode(data)
    opening.digest()
    return opening.encode()


@target
def statement(data: bytes) -> bytes:
    return canonical(check_statement(parse(data)))


@target
def policy(data: bytes) -> bytes:
    Policy.parse(data, folder=HOME)
    return data


@target
def public_key(data: bytes) -> bytes:
    if data[:1] == b"\x30":
        return PublicKey.from_spki(data).spki
    key = PublicKey.from_pem(data)
    assert PublicKey.from_pem(key.to_pem()) == key
    return data


@target
def pin(data: bytes) -> bytes:
    lockfile.read_pin(_file(data))
    return data


@target
def model_signature(data: bytes) -> bytes:
    """As if the key in it had signed whatever is there."""
    payload, _, _ = oms._envelope(data)
    oms._signed_files(oms.parse_json(payload, "the signed statement"))
    return data


@target
def record(data: bytes) -> bytes:
    """The whole verifier: a verdict that can be printed, whatever the file holds."""
    verdict = verify(Record.from_bytes(data))
    assert not verdict.ok, "a record of nobody we trust"
    str(verdict)
    return container.pack(container.unpack(data))


# In memory where the system has such a folder; gone with the process.
_SCRATCH = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
HOME = Path(_SCRATCH.name)
os.environ["TORCHNOTARY_HOME"] = str(HOME)


def _file(data: bytes) -> Path:
    path = HOME / "input"
    path.write_bytes(data)
    return path
