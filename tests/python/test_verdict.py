"""A verdict: what its exit code, its headline, its page and its JSON say for given steps."""

from __future__ import annotations

import json

import pytest

from torchnotary.errors import (
    MalformedRecord,
    RootMismatch,
    UnknownSigner,
    VerificationFailed,
)
from torchnotary.verifier.verdict import (
    FAILED,
    NOT_CHECKED,
    PASSED,
    STEP_NAMES,
    Claims,
    Step,
    Verdict,
)

ROOT = "9c4122e0" + "0" * 56
FINGERPRINT = "7f3a91c2e05b44d8" + "0" * 48
CLAIMS = Claims("module.score", "minilm", ROOT, "2026-11-21T10:02:03.123456Z")


def verdict(passed=(), failed=(), asked=(), errors=None):
    """A verdict in which the named steps have that outcome and every other is not checked."""
    steps = []
    for name in STEP_NAMES:
        outcome = PASSED if name in passed else FAILED if name in failed else NOT_CHECKED
        error = (errors or {}).get(name)
        step = error.next_step if error else None
        steps.append(Step(name, outcome, f"why {name}", error, step, name in asked))
    return Verdict(tuple(steps), "ab" * 32, FINGERPRINT, CLAIMS)


INTACT = ("format", "signature", "log inclusion")
KNOWN = (*INTACT, "signer")


def test_an_intact_record_by_a_known_signer_is_valid_though_nothing_else_was_checked():
    found = verdict(KNOWN)
    assert found.ok and bool(found)
    assert found.exit_code == 0
    assert found.headline == "VALID: intact, and by a key you trust (exit 0)"
    assert found.next_steps == []
    found.raise_for_failure()


def test_an_unknown_signer_is_inconclusive_and_never_ok():
    found = verdict(INTACT)
    assert (found.ok, bool(found), found.exit_code) == (False, False, 3)
    with pytest.raises(UnknownSigner, match="signer not checked: why signer.*--signer KEY"):
        found.raise_for_failure()


@pytest.mark.parametrize("name", [n for n in STEP_NAMES if n not in KNOWN])
def test_what_was_asked_for_but_not_checked_is_inconclusive(name):
    found = verdict(KNOWN, asked=(name,))
    assert found.exit_code == 3
    assert name in found.headline
    with pytest.raises(VerificationFailed, match=f"{name} not checked: why {name}"):
        found.raise_for_failure()


@pytest.mark.parametrize("name", STEP_NAMES)
def test_one_failed_step_makes_the_record_invalid_whatever_else_passed(name):
    others = [n for n in STEP_NAMES if n != name]
    found = verdict(others, failed=(name,))
    assert found.exit_code == 1
    assert found.headline == f"INVALID: {name} failed (exit 1)"
    assert found.next_steps
    with pytest.raises(VerificationFailed, match=f"{name} failed"):
        found.raise_for_failure()


def test_a_failure_outweighs_an_unknown_signer():
    assert verdict(INTACT, failed=("outputs",)).exit_code == 1


def test_success_is_never_returned_for_nothing_checked():
    found = verdict()
    assert found.exit_code == 3
    # Even a signer that passed in some other way cannot turn no answer into a yes.
    assert verdict(("signer",)).ok is True
    assert Verdict(()).ok is False


@pytest.mark.parametrize("kind", [MalformedRecord, RootMismatch, VerificationFailed])
def test_a_failed_step_raises_in_its_own_type_with_both_values_and_the_next_step(kind):
    error = kind("roots differ", expected="aa", actual="bb", next_step="do this")
    found = verdict(failed=("log inclusion",), errors={"log inclusion": error})
    with pytest.raises(kind) as raised:
        found.raise_for_failure()
    assert type(raised.value) is kind
    assert (raised.value.expected, raised.value.actual) == ("aa", "bb")
    assert str(raised.value).startswith("log inclusion failed: roots differ")
    assert str(raised.value).endswith("Next: do this")


def test_the_page_of_an_unknown_signer_reads_as_designed():
    assert str(verdict(INTACT)) == "\n".join(
        [
            "UNKNOWN SIGNER: intact, but not a key you trust (exit 3)",
            "signer       7f3a 91c2 e05b 44d8",
            "claims       score(), minilm 9c41 22e0, 2026-11-21 10:02 UTC (their clock)",
            "yes          format, signature, log inclusion",
            "no           none",
            "not checked  signer, log consistency, witness, time, nonce, weights, structure, inputs,",  # noqa: E501
            "             outputs",
            "Next: get their key another way, then --signer KEY",
            "      weights: --model PATH    date: --checkpoint FILE",
            "      in/outputs: ask for a disclosed copy",
            "Not proven: that it ran. To test: torchnotary reproduce",
        ]
    )


def test_every_step_stands_in_exactly_one_of_the_three_lists():
    text = str(verdict(KNOWN, failed=("outputs",), asked=("outputs", "weights")))
    lists = text[text.index("yes ") : text.index("Next:")]
    listed = [line[13:] for line in lists.splitlines() if ": why" not in line]
    names = [name for name in ", ".join(listed).replace(",,", ",").split(", ") if name]
    assert sorted(n.strip(",") for n in names) == sorted(STEP_NAMES)


def test_the_page_of_a_failure_says_why_and_does_not_suggest_to_reproduce_it():
    error = VerificationFailed("row 3 differs", next_step="find the recorded outputs")
    text = str(verdict(KNOWN, failed=("outputs",), errors={"outputs": error}))
    assert "outputs: why outputs" in text
    assert "Next: find the recorded outputs" in text
    assert "Not proven" not in text


@pytest.mark.parametrize("outcome", [verdict(INTACT), verdict(KNOWN, failed=("weights",))])
def test_every_outcome_that_is_not_valid_names_a_next_step(outcome):
    assert any(line.startswith("Next: ") for line in str(outcome).splitlines())
    assert outcome.to_json()["next"]


def test_json_carries_every_step_with_its_reason():
    document = verdict(INTACT, asked=("nonce",)).to_json()
    assert json.loads(json.dumps(document)) == document
    assert [step["name"] for step in document["steps"]] == list(STEP_NAMES)
    assert document["exit_code"] == 3 and document["ok"] is False
    assert document["steps"][7] == {
        "asked": True,
        "detail": "why nonce",
        "name": "nonce",
        "outcome": "not checked",
    }
    assert document["record"] == "ab" * 32 and document["signer"] == FINGERPRINT


def test_claims_of_a_stranger_cannot_write_to_the_terminal():
    claims = Claims("m.\x1b[2Jscore\n", "a\r\nVALID: all good", None, "2026", "raised", "x\x07")
    assert all(c.isprintable() for c in str(claims))


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"code": [], "model": 3, "time": None, "execution": "x"},
        {"code": {"callable": ["a"]}, "model": {"weights": {"root": 7}}},
    ],
)
def test_claims_of_a_predicate_with_anything_in_it_can_be_printed(predicate):
    assert str(Claims.of(predicate))


def test_claims_say_how_a_call_ended_and_that_there_was_no_model():
    raised = Claims("m.f", None, None, "2026-11-21T10:02:03Z", "raised", "builtins.ValueError")
    assert (
        str(raised)
        == "f() raised builtins.ValueError, no model, 2026-11-21 10:02 UTC (their clock)"
    )
    assert "stopped early" in str(Claims("m.f", None, None, "2026-11-21T10:02:03Z", "closed"))
