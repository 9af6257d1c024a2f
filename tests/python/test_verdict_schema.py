"""The published JSON Schema of verdicts: every kind of verdict is one of its documents."""

from __future__ import annotations

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from documents import ROOT
from torchnotary.keys import SigningKey
from torchnotary.verifier.policy import Policy
from torchnotary.verifier.steps import verify
from verifier_helpers import repacked
from witnessed_log import SIZE, Witness, WitnessedLog, at

SCHEMA = json.loads((ROOT / "docs/schemas/verdict-1.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def verdicts(template, tmp_path_factory):
    """A verdict of every kind there is, by name."""
    witness = Witness("witness.example/1")
    log, path = WitnessedLog(template), tmp_path_factory.mktemp("schema") / "record.tnr"
    key, record = log.signer.public, log.record()
    path.write_bytes(record)
    strict = Policy(
        frozenset({key.fingerprint}), witnesses=(witness.key,), quorum=1, name="policy.toml"
    )
    outcome = {"exception": "builtins.ValueError", "status": "raised"}
    raised = WitnessedLog(template, lambda s: s["predicate"]["execution"].update(outcome=outcome))
    plain = WitnessedLog(template, lambda s: s["predicate"].update(model=None, subject=[]))
    return {
        "valid": verify(record, signer=key),
        "unknown signer": verify(record),
        "asked for in vain": verify(record, signer=key, checkpoint="no note\n"),
        "witnesses missing": verify(record, policy=strict),
        "witnessed": verify(log.record(SIZE, (witness, at(hours=1))), policy=strict),
        "raised": verify(raised.record()),
        "no record": verify(b"no record"),
        "malformed statement": verify(plain.record()),
        "wrong signature": verify(repacked(path, public_key=SigningKey.generate().public.spki)),
        "step failed": verify(record, signer=SigningKey.generate().public),
    }


def written(verdicts):
    return {name: json.loads(json.dumps(found.to_json())) for name, found in verdicts.items()}


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_every_kind_of_verdict_follows_it(verdicts):
    found = written(verdicts)
    for name, document in found.items():
        assert not list(VALIDATOR.iter_errors(document)), name
    assert {document["exit_code"] for document in found.values()} == {0, 1, 3}
    for member in ("claims", "policy", "record", "signer"):
        assert {document[member] is None for document in found.values()} == {True, False}


def test_every_member_is_described_and_required_and_none_is_described_in_vain(verdicts):
    def check(schema, value):
        assert set(schema["properties"]) == set(schema["required"]) == set(value)
        assert all(part.get("description") for part in schema["properties"].values())

    definitions = SCHEMA["$defs"]
    for document in written(verdicts).values():
        check(SCHEMA, document)
        for step in document["steps"]:
            check(definitions["step"], step)
        if document["claims"] is not None:
            check(definitions["claims"], document["claims"])


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("ok"),
        lambda d: d.update(extra=1),
        lambda d: d.update(type="verdict/2"),
        lambda d: d.update(exit_code=2),
        lambda d: d.update(exit_code=3),
        lambda d: d.update(ok=False),
        lambda d: d.update(record=None),
        lambda d: d["steps"].pop(),
        lambda d: d["steps"].reverse(),
        lambda d: d["steps"].append(d["steps"][0]),
        lambda d: d["steps"][3].update(outcome="failed"),
        lambda d: d["steps"][3].update(outcome="skipped"),
        lambda d: d["claims"].update(weights_root=7),
    ],
)
def test_what_no_verdict_says_does_not_follow_it(verdicts, change):
    document = copy.deepcopy(written(verdicts)["valid"])
    change(document)
    assert list(VALIDATOR.iter_errors(document))
