"""What a policy asks of a record beside witnesses: the log's key, model, profile and nonce."""

from __future__ import annotations

import pytest

from torchnotary.keys import SigningKey
from torchnotary.log.proofs import ConsistencyProof
from torchnotary.log.revocation import Revocation
from torchnotary.verifier.policy import Policy
from torchnotary.verifier.steps import verify
from verifier_helpers import NOT_CHECKED, PASSED, only_failure
from witnessed_log import INDEX, SIZE, WitnessedLog


@pytest.fixture
def log(template):
    return WitnessedLog(template)


def test_log_keys_are_held_against_the_key_that_signed_the_checkpoint(log):
    signers = frozenset({log.signer.public.fingerprint})
    mine = frozenset({log.key.public.fingerprint})
    assert verify(log.record(), policy=Policy(signers, log_keys=mine)).ok
    other = frozenset({SigningKey.generate().public.fingerprint})
    for keys in (other, frozenset()):
        step = only_failure(verify(log.record(), policy=Policy(signers, log_keys=keys)))
        assert step.name == "log inclusion" and log.key.public.fingerprint in step.detail
    # Both must hold.
    both = Policy(signers, frozenset({"torchnotary.log/other"}), log_keys=mine)
    assert only_failure(verify(log.record(), policy=both)).name == "log inclusion"


def test_a_policy_restricts_weights_roots_and_profiles(template):
    log = WitnessedLog(template)
    signers = frozenset({log.signer.public.fingerprint})
    verdict = verify(log.record(), policy=Policy(signers))
    root = verdict.claims.weights_root
    allowed = Policy(signers, models=frozenset({root}), profiles=frozenset({"native"}))
    verdict = verify(log.record(), policy=allowed)
    # What was compared are claims: no tensor, and no module.
    assert verdict.ok and verdict["weights"].outcome == verdict["structure"].outcome == NOT_CHECKED
    assert "the policy allows the root it claims" in verdict["weights"].detail
    assert "the policy allows the profile it claims, native" in verdict["structure"].detail
    step = only_failure(verify(log.record(), policy=Policy(signers, models=frozenset({"0" * 64}))))
    assert step.name == "weights" and root in step.detail
    exact = Policy(signers, profiles=frozenset({"exact/1"}))
    assert only_failure(verify(log.record(), policy=exact)).name == "structure"
    for profile in (None, 1, [], {}):
        edited = WitnessedLog(
            template, lambda s, p=profile: s["predicate"]["execution"].update(profile=p)
        )
        signers = frozenset({edited.signer.public.fingerprint})
        strange = Policy(signers, profiles=frozenset({"native"}))
        assert only_failure(verify(edited.record(), policy=strange)).name == "structure"


def test_a_record_without_weights_is_none_of_an_allowed_model(template):
    def without(statement):
        statement["predicate"]["model"] = None
        parts = ("weights.jsonl", "structure.jsonl")
        statement["subject"] = [s for s in statement["subject"] if s["name"] not in parts]

    log = WitnessedLog(template, without)
    signers = frozenset({log.signer.public.fingerprint})
    assert verify(log.record(), policy=Policy(signers)).ok
    step = only_failure(verify(log.record(), policy=Policy(signers, models=frozenset({"0" * 64}))))
    assert step.name == "weights"


def test_a_policy_asks_for_a_nonce(template):
    def with_nonce(nonce):
        return WitnessedLog(template, lambda s: s["predicate"]["record"].update(nonce=nonce))

    def outcome(log, asked, given=None):
        signers = frozenset({log.signer.public.fingerprint})
        verdict = verify(log.record(), policy=Policy(signers, nonce=asked), nonce=given)
        return verdict.exit_code, verdict["nonce"].outcome

    plain, challenged = with_nonce(None), with_nonce("c0ffee")
    assert outcome(plain, True) == (1, "failed")
    assert outcome(plain, "c0ffee") == (1, "failed")
    assert outcome(challenged, True) == (3, NOT_CHECKED)
    assert outcome(challenged, True, "c0ffee") == (0, PASSED)
    assert outcome(challenged, True, "c0ffef") == (1, "failed")
    assert outcome(challenged, "c0ffee") == (0, PASSED)
    assert outcome(challenged, "c0ffef") == (1, "failed")
    assert outcome(challenged, "c0ffee", "c0ffef") == (1, "failed")
    assert outcome(challenged, "c0ffef", "c0ffee") == (1, "failed")


def test_a_key_that_the_policy_has_revoked_counts_for_what_the_revocation_covers(template):
    log = WitnessedLog(template)
    key = log.signer.public.fingerprint

    def signer(*checkpoints, of=key, consistency=None):
        asked = Policy(frozenset({key}), revoked=(Revocation(of, checkpoints),))
        verdict = verify(log.record(), policy=asked, consistency=consistency)
        return verdict["signer"].outcome, verdict["signer"].detail

    assert signer(of="0" * 64)[0] == PASSED
    assert signer()[0] == "failed"
    assert signer(log.note(INDEX))[0] == "failed"
    outcome, detail = signer(log.note(SIZE))
    assert outcome == PASSED and "revoked since" in detail
    # Of another size nothing connects the two, unless a proof comes along.
    assert signer(log.note(INDEX + 1))[0] == NOT_CHECKED
    proof = ConsistencyProof(INDEX + 1, tuple(log.consistency(INDEX + 1, SIZE)), log.note(SIZE))
    outcome, detail = signer(log.note(INDEX + 1), consistency=proof.to_text())
    assert outcome == PASSED and "the revocation's checkpoint" in detail
