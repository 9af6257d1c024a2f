"""The step log consistency: the record's log and the checkpoints that others hold of it are one
history, so nothing was rewritten, cut off or shown to you alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .. import merkle
from ..errors import MalformedProof, NotaryError, RootMismatch, VerificationFailed
from ..log.checkpoint import Checkpoint, SignedNote
from ..log.proofs import ConsistencyProof
from ..log.tree import EMPTY_ROOT
from .case import PASSED, Case, Finding, Held, not_checked, passed

_KEEP_BOTH = "keep both files: together they prove that the log signed two histories"


def check_consistency(case: Case) -> Finding:
    """The record's checkpoint against those of the caller and the policy: none may contradict it.
    Those that are connected to it are left in ``case.held``."""
    given = case.checkpoints
    if not given:
        return not_checked(
            "no checkpoint of yours to compare with",
            "give the one that you kept: --checkpoint FILE",
        )
    if case.entry is None:
        return not_checked("the record's own log entry is not proven")
    findings = [_compare(case, whose, note) for whose, note in given]
    unconnected = [finding for finding in findings if finding.outcome != PASSED]
    return unconnected[0] if unconnected else passed("; ".join(f.detail for f in findings))


def _compare(case: Case, whose: str, note: str) -> Finding:
    """What connects one checkpoint to the record's; raises where they contradict each other."""
    try:
        claimed = Checkpoint.parse(SignedNote.parse(note).text)
        if claimed.origin != case.entry.origin:
            raise VerificationFailed(
                f"it is of {claimed.origin}, the record is in {case.entry.origin}"
            )
        held = Held(whose, note, Checkpoint.verify(note, case.record.log_public_key))
    except NotaryError as error:
        return not_checked(f"{whose} says nothing about this log: {error.reason}")
    finding = connect(case, whose, held.checkpoint)
    if finding.outcome == PASSED:
        case.held.append(held)
    return finding


def connect(case: Case, whose: str, held: Checkpoint) -> Finding:
    """What connects a verified checkpoint of the record's log to the record's: passed, or not
    checked where no proof is at hand; raises RootMismatch where they contradict each other."""
    own = case.entry
    if own.size == held.size:
        if own.root != held.root:
            raise RootMismatch(
                f"two roots for one size {own.size}: the log was rewritten",
                expected=held.root.hex(),
                actual=own.root.hex(),
                next_step=_KEEP_BOTH,
            )
        return passed(f"the same {own.size} entries as in {whose}")
    first, second = sorted((own, held), key=lambda checkpoint: checkpoint.size)
    if first.size == 0:
        # RFC 9162 has no proof from the empty tree, so its root is compared instead.
        if first.root != EMPTY_ROOT:
            raise RootMismatch(
                f"{whose} gives the empty log a root it cannot have",
                expected=EMPTY_ROOT.hex(),
                actual=first.root.hex(),
                next_step="keep it: the log's key signed what no log can be",
            )
        return passed(f"{whose} is of the empty log")
    return _prove(case, whose, first, second)


def _prove(case: Case, whose: str, first: Checkpoint, second: Checkpoint) -> Finding:
    """Connects two sizes by the proof that was given, else by a log on this machine."""
    proof, why = _given_proof(case, first, second)
    given = proof is not None
    if not given:
        proof = _proof_in_logs(_logs_here(), first, second)
    if proof is None:
        return not_checked(
            f"no proof at hand between sizes {first.size} and {second.size}, the record's and "
            f"{whose}{why}",
            "ask for a proof between the two: torchnotary log prove --from OLDER -o FILE, then "
            "--consistency FILE",
        )
    try:
        merkle.verify_consistency(first.size, second.size, proof, first.root, second.root)
    except (MalformedProof, RootMismatch) as error:
        if isinstance(error, MalformedProof) and not given:
            return not_checked(f"the log here has no proof of its own: {error.reason}")
        raise RootMismatch(
            f"the first {first.size} of {second.size} entries are not those of {whose}: the "
            "log was rewritten, or the proof is not one",
            expected=error.expected,
            actual=error.actual,
            next_step=_KEEP_BOTH,
        ) from None
    return passed(f"the first {first.size} of {second.size} entries are the same in {whose}")


def _given_proof(
    case: Case, first: Checkpoint, second: Checkpoint
) -> tuple[list[bytes] | None, str]:
    """The hashes between two sizes in what the caller brought, or None and why it has none."""
    given = case.consistency
    if given is None:
        return None, ""
    if isinstance(given, Path):
        return _proof_in_logs(_logs_in(given), first, second), f"; none in {given} either"
    try:
        proof = ConsistencyProof.from_text(given)
        newer = Checkpoint.parse(SignedNote.parse(proof.checkpoint).text)
    except NotaryError as error:
        return None, f"; the consistency file is none: {error.reason}"
    if (newer.origin, proof.old_size, newer.size) != (first.origin, first.size, second.size):
        return None, f"; the one given is from {proof.old_size} to {newer.size} of {newer.origin}"
    return list(proof.hashes), ""


def _logs_here() -> Iterable[Path]:
    from ..log.reader import known_logs

    return known_logs()


def _logs_in(folder: Path) -> Iterable[Path]:
    from ..log.sources import log_paths

    try:
        return log_paths(folder)
    except (NotaryError, OSError):
        return []  # what names no log proves nothing


def _proof_in_logs(
    logs: Iterable[Path], first: Checkpoint, second: Checkpoint
) -> list[bytes] | None:
    """The consistency proof between two sizes out of the first copy of their log that is as long;
    None where there is none."""
    from ..log.sources import open_log

    for path in logs:
        try:
            with open_log(path) as log:
                if log.origin == first.origin and log.size() >= second.size:
                    return log.consistency_proof(first.size, second.size)
        except (NotaryError, OSError):
            continue  # a damaged log proves nothing, and another folder may hold a copy
    return None
