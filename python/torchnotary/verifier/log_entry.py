"""Steps about the log: that this record is its entry, and that the log you hold is the same."""

from __future__ import annotations

from .. import merkle
from ..errors import MalformedProof, NotaryError, RootMismatch, VerificationFailed
from ..log.checkpoint import Checkpoint, SignedNote
from ..log.leaf import entry_leaf
from ..log.proofs import TlogProof
from ..log.tree import EMPTY_ROOT
from .case import Case, Finding, not_checked, passed

ONLY_THE_SIGNERS = "only the signer's own log"


def check_inclusion(case: Case) -> Finding:
    """Binds this record's bytes to one entry: the leaf is recomputed from what was verified, root
    and size come from the checkpoint, and the checkpoint's key must hash into its origin."""
    record = case.record
    proof = TlogProof.from_text(record.tlog_proof)
    leaf = entry_leaf(record.envelope, record.public_key.fingerprint)
    checkpoint = proof.verify(leaf, record.log_public_key)
    if checkpoint.origin != record.predicate["record"]["log"]:
        raise VerificationFailed(
            "an entry of another log than the one the statement names",
            expected=record.predicate["record"]["log"],
            actual=checkpoint.origin,
            next_step="ask its maker to save it again from their log",
        )
    if case.batch is not None and case.batch.origin != checkpoint.origin:
        raise VerificationFailed(
            "the batch was signed for another log than the one it is in",
            expected=case.batch.origin,
            actual=checkpoint.origin,
            next_step="ask its maker to save it again from their log",
        )
    if record.log_public_key == record.public_key:
        raise VerificationFailed(
            "one key signed both the record and the log",
            expected="two keys",
            actual=record.public_key.fingerprint,
            next_step="ask its maker for a record made by torchnotary",
        )
    if case.policy is not None and case.policy.origins is not None:
        if checkpoint.origin not in case.policy.origins:
            raise VerificationFailed(
                "an entry of a log that the policy does not name",
                expected=" or ".join(sorted(case.policy.origins)) or "no log at all",
                actual=checkpoint.origin,
                next_step="ask which log is theirs, then add it to the policy's origins",
            )
    case.entry, case.index = checkpoint, proof.index
    return passed(f"entry {proof.index} of {checkpoint.size} in {checkpoint.origin}")


def check_consistency(case: Case) -> Finding:
    """The record's checkpoint against one the caller holds: neither may contradict the other."""
    if case.checkpoint is None:
        return not_checked("no checkpoint of yours to compare with")
    if case.entry is None:
        return not_checked("the record's own log entry is not proven")
    try:
        held = _held(case)
    except NotaryError as error:
        return not_checked(f"your checkpoint says nothing about this log: {error.reason}")
    finding = connect(case.entry, held)
    if finding is None:
        return not_checked(
            f"no proof at hand between size {case.entry.size} and your size {held.size}"
        )
    case.held = held
    return passed(finding)


def check_witness(case: Case) -> Finding:
    """Whether somebody other than the signer holds a checkpoint that covers this entry."""
    if case.checkpoint is None:
        return not_checked(ONLY_THE_SIGNERS)
    if case.held is None:
        return not_checked(f"{ONLY_THE_SIGNERS}: your checkpoint could not be connected to it")
    if case.held.size <= case.index:
        return not_checked(
            f"{ONLY_THE_SIGNERS}: your checkpoint of size {case.held.size} ends before "
            f"entry {case.index}"
        )
    return passed(f"your checkpoint of size {case.held.size} covers entry {case.index}")


def _held(case: Case) -> Checkpoint:
    claimed = Checkpoint.parse(SignedNote.parse(case.checkpoint).text)
    if claimed.origin != case.entry.origin:
        raise VerificationFailed(f"it is of {claimed.origin}, the record is in {case.entry.origin}")
    return Checkpoint.verify(case.checkpoint, case.record.log_public_key)


def connect(own: Checkpoint, held: Checkpoint) -> str | None:
    """What connects two checkpoints of one origin, None where no proof is at hand; raises
    `RootMismatch` where they contradict each other."""
    if own.size == held.size:
        if own.root != held.root:
            raise RootMismatch(
                f"two roots for one size {own.size}: the log was rewritten",
                expected=held.root.hex(),
                actual=own.root.hex(),
                next_step="keep both files: together they prove that the log signed two histories",
            )
        return f"the same {own.size} entries as in your checkpoint"
    first, second = sorted((own, held), key=lambda checkpoint: checkpoint.size)
    if first.size == 0:
        # RFC 9162 has no proof from the empty tree, so its root is compared instead.
        if first.root != EMPTY_ROOT:
            raise RootMismatch(
                "your checkpoint gives the empty log a root it cannot have",
                expected=EMPTY_ROOT.hex(),
                actual=first.root.hex(),
                next_step="keep it: the log's key signed what no log can be",
            )
        return "your checkpoint is of the empty log"
    proof = _local_proof(own.origin, first.size, second.size)
    if proof is None:
        return None
    try:
        merkle.verify_consistency(first.size, second.size, proof, first.root, second.root)
    except MalformedProof:
        return None
    return f"the first {first.size} of {second.size} entries are the same in both"


def _local_proof(origin: str, first: int, second: int) -> list[bytes] | None:
    """The consistency proof between two sizes out of a copy of that log on this machine; None
    where there is none, or none that long."""
    from ..log.reader import known_logs
    from ..log.store import LogReader

    for path in known_logs():
        try:
            with LogReader.open(path) as log:
                if log.origin == origin and log.size() >= second:
                    return log.consistency_proof(first, second)
        except NotaryError:
            continue  # a damaged log proves nothing, and another folder may hold a copy
    return None
