"""The conformance suite: this verifier passes it, and its files are what its code makes."""

from __future__ import annotations

import collections
import importlib.util
import sys
from pathlib import Path

import pytest

from torchnotary.commands.files import load_manifest, read_values
from torchnotary.verifier.steps import STEPS, verify

FOLDER = Path(__file__).resolve().parent


def _loaded(name: str):
    """A program of this folder; its plain name may be another folder's too."""
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bits, run, generate = _loaded("bits"), _loaded("run"), _loaded("generate")
CASES = run.load_cases()

# Every attack that must be refused has a case whose name says so, and the step that refuses it.
PROMISED = {
    "replayed-nonce": "nonce",
    "omitted": "log inclusion",
    "reordered": "log inclusion",
    "duplicated": "log inclusion",
    "back-dated": "log inclusion",
    "envelope-payload-back-dated": "signature",
    "cross-log": "log inclusion",
    "cross-record": "log inclusion",
    "truncated-tail": "log inclusion",
    "consistency-truncated-tail": "log consistency",
    "back-dated-into-a-seen-log": "time",
    "quorum-threshold-counted-twice": "witness",
    "batch-cross-record": "signature",
    "forked-view": "log consistency",
    "key-algorithm-downgraded-rsa-512": "format",
    "envelope-signature-payload-type-confused": "signature",
    "envelope-threshold-counted-twice": "format",
    "p256-key-under-an-ed25519-signature": "signature",
    "json-statement-key-repeated": "format",
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody's keys and logs."""
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TORCHNOTARY_KEY", raising=False)
    monkeypatch.delenv("TORCHNOTARY_LOG", raising=False)


def _verdict(case):
    options = run.options_of(case)
    for tree in {"inputs", "outputs"} & options.keys():
        options[tree] = read_values(Path(options[tree]), tree)
    if "model" in options:
        options["model"] = load_manifest(options["model"])
    return verify(FOLDER / case["file"], **options)


def test_every_case_is_answered_as_its_line_says():
    found = {}
    for case in CASES:
        verdict = _verdict(case)
        if faults := run.faults(case, verdict.exit_code, verdict.to_json()):
            found[case["file"]] = faults
    assert found == {}


def test_the_suite_has_300_records_three_quarters_of_them_bad_each_with_a_step_and_a_reason():
    files = {case["file"] for case in CASES}
    assert len(files) == len(CASES) >= 300
    by_folder = collections.Counter(case["file"].partition("/")[0] for case in CASES)
    assert by_folder["bad"] >= 0.75 * len(CASES) and by_folder["good"] >= 75
    steps = {name for name, _ in STEPS}
    for case in CASES:
        assert case["steps"] and case["steps"].keys() <= steps and case["why"], case
    refused = {step for case in CASES for step, o in case["steps"].items() if o == "failed"}
    assert refused == steps


def test_every_promised_attack_is_a_case_of_the_step_that_must_refuse_it():
    steps = {case["file"]: case["steps"] for case in CASES}
    for name, step in PROMISED.items():
        assert steps[f"bad/{name}.tnr"] == {step: "failed"}, name


def test_the_files_are_what_the_code_makes_and_no_others(recwarn):
    made = generate.contents()
    there = {
        str(path.relative_to(FOLDER)): path.read_bytes()
        for folder in generate.MADE
        for path in (FOLDER / folder).rglob("*")
        if path.is_file()
    }
    there["cases.jsonl"] = (FOLDER / "cases.jsonl").read_bytes()
    assert sorted(made) == sorted(there)
    assert [path for path in made if made[path] != there[path]] == []


def test_the_runner_accepts_the_command_line(capsys):
    command = f"{sys.executable} -m torchnotary verify --json"
    assert run.main(["--command", command, "--only", "bad/envelope-payload-edited"]) == 0
    assert "1 of 1 cases" in capsys.readouterr().out


def test_the_runner_refuses_a_verifier_that_accepts_or_refuses_everything(capsys):
    for answer, wrong in (("true", "bad/zip-comment"), ("false", "good/everything")):
        assert run.main(["--command", answer, "--exit-codes", "--only", wrong]) == 1
        assert wrong in capsys.readouterr().out
        assert run.main(["--command", answer, "--only", wrong]) == 1
        assert "no verdict" in capsys.readouterr().out
    assert run.main(["--command", "false", "--exit-codes", "--only", "bad/zip-comment"]) == 0
    assert run.main(["--command", "true", "--only", "no/such-case"]) == 1


def test_the_runner_refuses_a_right_code_from_a_wrong_step():
    case = next(case for case in CASES if case["file"] == "bad/envelope-payload-edited.tnr")
    document = _verdict(case).to_json()
    assert run.faults(case, 1, document) == []
    for step in document["steps"]:
        step["outcome"] = {"signature": "passed", "format": "failed"}.get(
            step["name"], "not checked"
        )
    assert run.faults(case, 1, document) == ["signature passed instead of failed", "format failed"]


@pytest.mark.parametrize("kind", bits.KINDS)
def test_no_single_bit_of_a_record_can_be_flipped(kind):
    """A sample; ``make conformance`` flips every bit."""
    record, signer = bits.load(kind)
    assert verify(record, signer=signer).ok
    tried, found = bits.survivors(kind, stride=401, start=len(kind))
    assert tried > 100 and found == []
