"""Verification: numbered steps in the order that docs/verification.md lists, each with its reason.

Bytes are verified before they are parsed; root and size come from the verified checkpoint alone;
keys and origins come from the caller or the policy, never from the record. No step needs torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LogCorrupt, NotaryError
from ..files import open_regular
from ..keys import PublicKey, fingerprint_of
from ..log.checkpoint import MAX_NOTE_BYTES
from ..statement.record import Record
from .case import Case, Finding, failed, not_checked
from .content import check_inputs, check_outputs
from .history import check_consistency
from .integrity import check_format, check_nonce, check_signature, check_signer
from .log_entry import check_inclusion
from .model import check_structure, check_weights
from .policy import ANY, Policy
from .verdict import FAILED, Claims, Step, Verdict
from .witnessing import check_time, check_witness

STEPS: tuple[tuple[str, Callable[[Case], Finding]], ...] = (
    ("format", check_format),
    ("signature", check_signature),
    ("signer", check_signer),
    ("log inclusion", check_inclusion),
    ("log consistency", check_consistency),
    ("witness", check_witness),
    ("time", check_time),
    ("nonce", check_nonce),
    ("weights", check_weights),
    ("structure", check_structure),
    ("inputs", check_inputs),
    ("outputs", check_outputs),
)
# Nothing can be said of a record after one of these failed.
GATES = ("format", "signature")


def verify(
    record: str | os.PathLike[str] | bytes | Record,
    *,
    signer: str | os.PathLike[str] | bytes | PublicKey | None = None,
    checkpoint: str | os.PathLike[str] | bytes | None = None,
    consistency: str | os.PathLike[str] | bytes | None = None,
    policy: str | os.PathLike[str] | Policy | None = None,
    model: Any = None,
    inputs: Any = None,
    outputs: Any = None,
    nonce: bytes | str | None = None,
) -> Verdict:
    """Checks a record offline and says step by step what passed, failed or was not checked.

    ``record`` is a path, the bytes of a ``.tnr`` or a `Record`. ``signer`` is the key it must be
    by (path, PEM, fingerprint or `PublicKey`), ``checkpoint`` a checkpoint of the log that you
    hold, ``consistency`` the proof that connects it to the record's (a file, or a folder of logs),
    ``policy`` a TOML file, ``model`` a module, state_dict, path, mapping of modules or `Manifest`,
    ``inputs`` the call's arguments (by name, or a tuple in their order), ``outputs`` what it
    returned, ``nonce`` the challenge you sent.

    A malformed record is a verdict whose step ``format`` failed; a file that cannot be opened
    raises `OSError`, a policy that is none `MalformedPolicy`, a model that cannot be read
    another `NotaryError`; a nonce that is empty or no hexadecimal is `ValueError`.
    """
    case = Case(
        source=bytes(record) if isinstance(record, (bytearray, memoryview)) else record,
        signer=fingerprint_of(signer) if signer is not None else None,
        checkpoint=_text(checkpoint),
        consistency=_proofs(consistency),
        policy=Policy.load(policy) if policy is not None else ANY,
        model=model,
        inputs=inputs,
        outputs=outputs,
        nonce=_nonce(nonce) if nonce is not None else None,
    )
    if isinstance(record, Record):
        _ = record.bundle  # waits for a record in the making, and raises what kept it from the log
    steps: list[Step] = []
    gate = None
    for name, check in STEPS:
        if name not in GATES and gate is None and case.model is not None:
            # Read outside of the steps: a damaged model file says nothing about the record.
            from .model_comparison import manifest_of

            case.model = manifest_of(case.model)
        finding = not_checked(f"{gate} failed") if gate else _answer(check, case)
        steps.append(
            Step(
                name,
                finding.outcome,
                finding.detail,
                finding.error,
                finding.next_step,
                case.asked(name),
            )
        )
        if finding.outcome == FAILED and name in GATES:
            gate = name
    return _verdict(case, steps, read=gate is None)


def _answer(check: Callable[[Case], Finding], case: Case) -> Finding:
    try:
        return check(case)
    except LogCorrupt as error:
        return not_checked(f"this machine's own log is damaged: {error.reason}", error.next_step)
    except NotaryError as error:
        return failed(error)


def _verdict(case: Case, steps: list[Step], *, read: bool) -> Verdict:
    if case.record is None:
        return Verdict(tuple(steps), policy=case.policy.name)
    return Verdict(
        tuple(steps),
        policy=case.policy.name,
        record_id=case.record.id,
        signer=case.record.public_key.fingerprint,
        claims=Claims.of(case.record.predicate) if read else None,
    )


def _proofs(consistency: Any) -> str | Path | None:
    """The text of a consistency file, or the folder of logs that was named."""
    if isinstance(consistency, (str, os.PathLike)) and "\n" not in os.fspath(consistency):
        if Path(consistency).is_dir():
            return Path(consistency)
    return _text(consistency)


def _text(checkpoint: Any) -> str | None:
    """The text of a checkpoint: bytes and text with line ends as they are, else a path's file."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, str) and "\n" in checkpoint:
        return checkpoint
    if isinstance(checkpoint, bytes):
        data = checkpoint
    else:
        with open_regular(checkpoint) as stream:
            data = stream.read(MAX_NOTE_BYTES + 1)  # the parser refuses what is longer
    return data.decode("utf-8", "replace")


def _nonce(given: bytes | str) -> str:
    """The challenge as the statement writes it: lower-case hexadecimal."""
    if not isinstance(given, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"a nonce is bytes or their hexadecimal, not {type(given).__name__}")
    try:
        value = bytes.fromhex(given) if isinstance(given, str) else bytes(given)
    except ValueError as error:
        raise ValueError(f"the nonce is not hexadecimal: {error}") from None
    if not value:
        raise ValueError("an empty nonce challenges nobody; give the one you sent")
    return value.hex()
