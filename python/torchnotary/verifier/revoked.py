"""What a revocation leaves of a key: the entries of the checkpoints it lists, and no other."""

from __future__ import annotations

from ..errors import NotaryError, VerificationFailed
from ..log.checkpoint import Checkpoint
from ..log.revocation import Revocation, own_revocation
from .case import PASSED, Case, Finding, not_checked, passed
from .history import connect
from .log_entry import check_inclusion

_ASK = "if it was signed before, ask for a newer revocation that lists its log's checkpoint"


def after_revocation(case: Case, finding: Finding) -> Finding:
    """What is left of ``finding`` about the record's key, once its revocations are considered: all
    of it where there is none.

    Raises VerificationFailed where one does not cover this record. Where it does, but nothing
    connects its checkpoint to the record's, whoever stole the log's key too could have made the
    entry in a history of their own: the step is not checked then.
    """
    revocations = _revocations(case)
    case.revoked = bool(revocations)
    details = []
    for checkpoint in [_covering(case, revocation) for revocation in revocations]:
        connected = connect(case, "the revocation's checkpoint", checkpoint)
        if connected.outcome != PASSED:
            return not_checked(
                f"the key was revoked; the record says that it was entry {case.index} before, but "
                f"no proof at hand connects its size {case.entry.size} to the revocation's "
                f"{checkpoint.size}",
                "ask its maker to save it again, with a proof from the revocation's checkpoint: "
                "torchnotary log prove --from",
            )
        details.append(
            f"; revoked since, after entry {case.index} was in its log ({connected.detail})"
        )
    if finding.outcome == PASSED:
        return passed(finding.detail + "".join(details))
    return finding


def _revocations(case: Case) -> list[Revocation]:
    """The user's own revocation of the record's key, and the policy's."""
    fingerprint = case.record.public_key.fingerprint
    found = [own_revocation(fingerprint), *case.policy.revoked]
    return [r for r in found if r is not None and r.fingerprint == fingerprint]


def _covering(case: Case, revocation: Revocation) -> Checkpoint:
    """The revocation's checkpoint that covers the record; raises VerificationFailed if none."""
    try:
        check_inclusion(case)
    except NotaryError as error:
        raise VerificationFailed(
            f"signed by a key that was revoked, and no entry of a log before that: {error.reason}",
            next_step=_ASK,
        ) from None
    origin = case.entry.origin
    checkpoint = revocation.checkpoint(origin, case.record.log_public_key)
    if checkpoint is None:
        raise VerificationFailed(
            "signed by a key that was revoked",
            expected=" or ".join(revocation.covered) or "no record at all",
            actual=origin,
            next_step=_ASK,
        )
    if case.index >= checkpoint.size:
        raise VerificationFailed(
            "entered into its log after the key was revoked",
            expected=f"an entry below {checkpoint.size}",
            actual=f"entry {case.index}",
            next_step=_ASK,
        )
    return checkpoint
