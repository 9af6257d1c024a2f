"""Steps about the file itself: its encoding, its signature, whose key that is, and its nonce."""

from __future__ import annotations

import hashlib

from ..errors import (
    MalformedProof,
    MalformedRecord,
    RootMismatch,
    VerificationFailed,
)
from ..keys import is_trusted
from ..statement import envelope
from ..statement.batch import BatchStatement
from ..statement.record import Record
from ..statement.trace import TRACE, check_trace_openings
from .case import Case, Finding, failed, not_checked, passed
from .revoked import after_revocation
from .trees import recorded_trace

# Which step answers for a line file that travels; one without a step belongs to the format.
STEP_OF_FILE = {
    "inputs.jsonl": "inputs",
    "outputs.jsonl": "outputs",
    "structure.jsonl": "structure",
    "weights.jsonl": "weights",
}


def check_format(case: Case) -> Finding:
    """The container, bundle and, only after the signature over its bytes holds, the statement."""
    source = case.source
    if isinstance(source, bytes):
        record = Record.from_bytes(source)
    else:
        record = source if isinstance(source, Record) else Record.load(source)
    key, _ = record.public_key, record.log_public_key
    case.record = record
    try:
        envelope.verify(record.envelope, key)
        case.batch = _signed_batch(record)
    except (MalformedProof, RootMismatch, VerificationFailed) as error:
        case.signature_error = error
        return passed("container and envelope; the statement stays unread, its signature is wrong")
    subjects = {s["name"]: s["digest"]["sha256"] for s in record.statement["subject"]}
    for name, data in record.files.items():
        if name not in subjects:
            raise MalformedRecord(
                f"{name} travels with the record, but the statement does not speak of it",
                next_step="ask its maker for the record as torchnotary saved it",
            )
        if name not in STEP_OF_FILE:
            check_file(name, data, subjects[name])
    trace = _check_trace(record)
    return passed(f"one encoding, {len(record.files)} line files travel with it{trace}")


def _signed_batch(record: Record) -> BatchStatement | None:
    """The signed batch that the record's payload is proven to be in; None where the record is
    signed by itself."""
    part = record.bundle.batch
    if part is None:
        return None
    signed = BatchStatement.parse(record.envelope.payload)
    part.verify(signed)
    return signed


def _check_trace(record: Record) -> str:
    """What to say of a trace that travels; raises unless its lines are well-formed, those that were
    signed, and every opening opens one of them."""
    opened = record.openings.get("trace", {})
    if TRACE not in record.files:
        if opened:
            raise MalformedRecord(
                f"digests of the trace travel without {TRACE}",
                next_step="ask its maker for the record as torchnotary saved it",
            )
        return ""
    lines = recorded_trace(record)
    check_trace_openings(lines, opened)
    return f"; the trace's {len(lines)} lines are the signed ones, {len(opened)} of them opened"


def check_file(name: str, data: bytes, expected: str) -> None:
    """Raises `VerificationFailed` unless the file has the SHA-256 its subject gives."""
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise VerificationFailed(
            f"{name} is not the file the statement speaks of",
            expected=expected,
            actual=actual,
            next_step="ask its maker for the record again; this file was changed",
        )


def check_signature(case: Case) -> Finding:
    """The bytes under the signature, against the key that travels (its owner is the next step)."""
    if case.signature_error is not None:
        return failed(case.signature_error)
    part = ""
    if case.batch is not None:
        place = case.record.bundle.batch.index
        part = f", as record {place} of the {case.batch.records.size} signed together"
    return passed(
        f"{case.record.public_key.algorithm} over {len(case.record.envelope.payload)} bytes{part}"
    )


def check_signer(case: Case) -> Finding:
    """The key itself: the one asked for and one the policy names, where the caller gave either or
    both, else one the user trusts; a revoked key counts only for what its revocation covers."""
    return after_revocation(case, _whose(case))


def _whose(case: Case) -> Finding:
    key = case.record.public_key
    if case.signer is not None and key.fingerprint != case.signer:
        raise VerificationFailed(
            "signed by another key",
            expected=case.signer,
            actual=key.fingerprint,
            next_step="ask which key is theirs; torchnotary keys list shows those you trust",
        )
    if case.policy.signers is not None:
        if key.fingerprint not in case.policy.signers:
            raise VerificationFailed(
                "signed by a key that the policy does not name",
                expected=" or ".join(sorted(case.policy.signers)) or "no key at all",
                actual=key.fingerprint,
                next_step="ask which key is theirs, then add it to the policy's signers",
            )
        named = "the key you named, and one" if case.signer is not None else "a key"
        return passed(f"{named} the policy names")
    if case.signer is not None:
        return passed("the key you named")
    if is_trusted(key):
        return passed("your own key, or one you trust")
    return not_checked("nobody you trust vouches for this key")


def check_nonce(case: Case) -> Finding:
    """The challenge of the caller, of the policy or of both, which must be the one signed."""
    signed = case.record.predicate["record"]["nonce"]
    asked = case.policy.nonce
    sent = [nonce for nonce in (case.nonce, asked) if isinstance(nonce, str)]
    if not sent and (signed or not asked):
        return not_checked(
            "no nonce given to compare" if signed else "signed without a nonce",
            "give the nonce you sent: --nonce HEX" if signed else None,
        )
    for nonce in sent or ["any nonce"]:
        if signed != nonce:
            raise VerificationFailed(
                "signed for another challenge" if signed else "signed without a nonce",
                expected=nonce,
                actual=signed or "none",
                next_step="send a fresh nonce and ask for a record made with it",
            )
    return passed(
        "the policy's nonce was signed" if case.nonce is None else "your nonce was signed"
    )
