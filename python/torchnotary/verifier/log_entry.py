"""The step log inclusion: that this record's very bytes are one entry of the log it names."""

from __future__ import annotations

from .. import merkle
from ..errors import VerificationFailed
from ..keys import PublicKey
from ..log.checkpoint import Checkpoint
from ..log.leaf import entry_leaf, leaf_hash
from ..log.proofs import TlogProof
from ..log.witness import WitnessKey, verify_every_line
from .case import Case, Finding, passed
from .policy import Policy


def check_inclusion(case: Case) -> Finding:
    """Binds this record's bytes to one entry: the leaf is recomputed from what was verified, root
    and size come from the checkpoint, and the checkpoint's key must hash into its origin. Every
    line of signatures under it is checked: by the log's key, or by a witness's that travels along.
    """
    record = case.record
    proof = TlogProof.from_text(record.tlog_proof)
    witnesses = [
        WitnessKey(name, PublicKey.from_spki(spki)) for name, spki in record.bundle.witnesses
    ]
    checkpoint, _ = verify_every_line(proof.checkpoint, record.log_public_key, witnesses)
    leaf = leaf_hash(entry_leaf(record.envelope, record.public_key.fingerprint))
    merkle.verify_inclusion(proof.index, checkpoint.size, leaf, list(proof.hashes), checkpoint.root)
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
    _check_allowed(case.policy, checkpoint, record.log_public_key)
    case.entry, case.index = checkpoint, proof.index
    return passed(f"entry {proof.index} of {checkpoint.size} in {checkpoint.origin}")


def _check_allowed(policy: Policy, checkpoint: Checkpoint, key: PublicKey) -> None:
    """Raises VerificationFailed where the policy does not name this log or its key."""
    if policy.origins is not None and checkpoint.origin not in policy.origins:
        raise VerificationFailed(
            "an entry of a log that the policy does not name",
            expected=" or ".join(sorted(policy.origins)) or "no log at all",
            actual=checkpoint.origin,
            next_step="ask which log is theirs, then add it to the policy's origins",
        )
    if policy.log_keys is not None and key.fingerprint not in policy.log_keys:
        raise VerificationFailed(
            "an entry of a log whose key the policy does not name",
            expected=" or ".join(sorted(policy.log_keys)) or "no key at all",
            actual=key.fingerprint,
            next_step="ask which key signs their log, then add it to the policy's log_keys",
        )
