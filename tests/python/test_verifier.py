"""The verifier: its steps on real records, and those about signer, format and nonce."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import torchnotary
from torchnotary.capture.job import CallJob
from torchnotary.errors import MalformedRecord, UnknownSigner
from torchnotary.keys import SigningKey, trust
from torchnotary.statement import container, envelope
from torchnotary.statement.record import Record
from torchnotary.verifier.steps import STEPS, verify
from torchnotary.verifier.verdict import STEP_NAMES
from verifier_helpers import (
    NOT_CHECKED,
    PASSED,
    only_failure,
    outcomes,
    repacked,
    resigned,
    saved,
)


def test_the_steps_are_run_in_the_order_the_verdict_lists():
    assert tuple(name for name, _ in STEPS) == STEP_NAMES


def test_ones_own_record_is_valid_and_says_what_nobody_asked_about(call, tmp_path):
    verdict = torchnotary.verify(saved(call[0], tmp_path))
    assert verdict.ok
    assert outcomes(verdict) == {
        "format": PASSED,
        "signature": PASSED,
        "signer": PASSED,
        "log inclusion": PASSED,
        "log consistency": NOT_CHECKED,
        "witness": NOT_CHECKED,
        "time": NOT_CHECKED,
        "nonce": NOT_CHECKED,
        "weights": NOT_CHECKED,
        "structure": NOT_CHECKED,
        "inputs": NOT_CHECKED,
        "outputs": NOT_CHECKED,
    }
    assert verdict["witness"].detail == "only the signer's own log"
    assert verdict.record_id == call[0].id


def test_a_path_bytes_and_a_record_give_the_same_verdict(call, tmp_path):
    path = saved(call[0], tmp_path)
    texts = {str(verify(given)) for given in (path, str(path), path.read_bytes(), call[0])}
    assert len(texts) == 1


def test_everything_given_is_checked(call, net):
    record, inputs, outputs = call
    verdict = verify(record, model=net, inputs=inputs, outputs=outputs)
    assert verdict.ok
    for name in ("weights", "structure", "inputs", "outputs"):
        assert verdict[name].outcome == PASSED and verdict[name].asked


def test_a_strangers_key_is_unknown_until_it_is_trusted(call, tmp_path, stranger):
    path = saved(call[0], tmp_path)
    key = call[0].public_key
    stranger()
    verdict = verify(path)
    assert verdict.exit_code == 3 and verdict["signer"].outcome == NOT_CHECKED
    assert verdict.headline.startswith("UNKNOWN SIGNER")
    with pytest.raises(UnknownSigner):
        verdict.raise_for_failure()
    trust(key)
    assert verify(path).ok


def test_the_signer_asked_for_may_be_a_key_a_pem_a_path_or_a_fingerprint(call, tmp_path, stranger):
    path, key = saved(call[0], tmp_path), call[0].public_key
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.to_pem())
    stranger()
    for signer in (key, key.to_pem(), key.to_pem().decode(), pem, str(pem), key.fingerprint):
        verdict = verify(path, signer=signer)
        assert verdict.ok and verdict["signer"].asked


def test_another_signer_than_the_one_asked_for_is_invalid_and_both_are_named(call, tmp_path):
    other = SigningKey.generate().public
    step = only_failure(verify(saved(call[0], tmp_path), signer=other))
    assert step.name == "signer"
    assert other.fingerprint in step.detail and call[0].public_key.fingerprint in step.detail


def test_a_policy_overrides_the_users_own_trust(call, tmp_path):
    path, key = saved(call[0], tmp_path), call[0].public_key
    policy = tmp_path / "policy.toml"
    policy.write_text(f'signers = ["{key.fingerprint}"]\n')
    assert verify(path, policy=policy)["signer"].detail == "a key the policy names"
    policy.write_text(f'signers = ["{"ab" * 32}"]\n')
    assert only_failure(verify(path, policy=policy)).name == "signer"
    policy.write_text("signers = []\n")
    assert only_failure(verify(path, policy=policy)).name == "signer"


def test_a_signer_named_beside_a_policy_must_be_one_the_policy_names(call, tmp_path):
    path, key = saved(call[0], tmp_path), call[0].public_key
    policy = tmp_path / "policy.toml"
    policy.write_text(f'signers = ["{"ab" * 32}"]\n')
    step = only_failure(verify(path, signer=key, policy=policy))
    assert step.name == "signer" and "the policy does not name" in step.detail
    policy.write_text(f'signers = ["{key.fingerprint}"]\n')
    verdict = verify(path, signer=key, policy=policy)
    assert verdict.ok and verdict["signer"].detail == "the key you named, and one the policy names"
    other = SigningKey.generate().public
    assert only_failure(verify(path, signer=other, policy=policy)).name == "signer"


def test_a_file_called_like_the_signers_fingerprint_does_not_take_its_place(
    call, tmp_path, monkeypatch
):
    path, wanted = saved(call[0], tmp_path), "ab" * 32
    monkeypatch.chdir(tmp_path)
    (tmp_path / wanted).write_bytes(call[0].public_key.to_pem())
    assert only_failure(verify(path, signer=wanted)).name == "signer"


def test_a_policy_restricts_origins_and_requires_steps(call, tmp_path):
    path = saved(call[0], tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text('origins = ["torchnotary.log/of-another"]\n')
    assert only_failure(verify(path, policy=policy)).name == "log inclusion"
    policy.write_text('required = ["witness"]\n')
    verdict = verify(path, policy=policy)
    assert verdict.exit_code == 3 and "witness" in verdict.headline


@pytest.mark.parametrize("data", [b"", b"PK", b"not a record at all" * 100])
def test_what_is_no_record_fails_its_format_and_nothing_else_is_checked(data):
    verdict = verify(data)
    assert only_failure(verdict).name == "format"
    assert set(list(outcomes(verdict).values())[1:]) == {NOT_CHECKED}
    assert isinstance(verdict["format"].error, MalformedRecord)
    with pytest.raises(MalformedRecord, match="format failed"):
        verdict.raise_for_failure()


def test_a_file_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "absent.tnr")
    with pytest.raises(IsADirectoryError):
        verify(tmp_path)


def test_a_statement_whose_signature_is_wrong_is_never_parsed(call, tmp_path, monkeypatch):
    path = saved(call[0], tmp_path)
    genuine = call[0].envelope
    changed = envelope.Envelope(b"{not json", genuine.signatures)
    verdict = verify(repacked(path, envelope=changed))
    assert only_failure(verdict).name == "signature"
    assert verdict["format"].outcome == PASSED
    assert verdict.claims is None
    assert {outcomes(verdict)[name] for name in STEP_NAMES[2:]} == {NOT_CHECKED}


def test_the_helper_that_signs_anew_makes_records_that_are_valid(call, tmp_path):
    assert verify(resigned(saved(call[0], tmp_path), lambda statement: None)).ok


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda s: s.update(predicateType="urn:torchnotary:inference-record:v9"), "predicate type"),
        (lambda s: s["predicate"].pop("claim"), "sections"),
        (lambda s: s["predicate"]["inputs"].pop("size"), "inputs root"),
        (lambda s: s["subject"].pop(), "go together"),
        (lambda s: s["predicate"]["record"].update(nonce=7), "record section"),
        (lambda s: s["predicate"].update(time=[]), "time section"),
    ],
)
def test_a_signed_statement_of_another_shape_fails_its_format(call, tmp_path, edit, named):
    verdict = verify(resigned(saved(call[0], tmp_path), edit))
    step = only_failure(verdict)
    assert step.name == "format" and named in step.detail
    assert set(list(outcomes(verdict).values())[1:]) == {NOT_CHECKED}


def test_a_signed_statement_with_anything_in_its_sections_is_judged_without_a_crash(
    call, tmp_path, net
):
    def fill(statement):
        predicate = statement["predicate"]
        predicate["code"] = {"callable": ["\u001b[2J"], "packages": 3}
        predicate["execution"] = {"outcome": [], "threads": "many"}
        predicate["time"] = {"start": "\u0007", "end": ""}
        predicate["model"]["name"] = {"a": []}

    data = resigned(saved(call[0], tmp_path), fill)
    verdict = verify(data, model=net, inputs=call[1], outputs=call[2], nonce=b"x")
    assert "\u001b" not in str(verdict) and "\u0007" not in str(verdict)
    assert verdict["weights"].outcome == PASSED
    with contextlib.suppress(torchnotary.NotaryError):
        torchnotary.reproduce(Record.from_bytes(data), lambda x, scale: None, (call[1]["x"], 2))
    assert str(torchnotary.diff(Record.from_bytes(data), call[0]))


def test_a_file_that_the_statement_does_not_speak_of_may_not_travel(call, tmp_path):
    path = saved(call[0], tmp_path)
    step = only_failure(verify(repacked(path, members={"trace.jsonl": b'{"type":"op"}\n'})))
    assert step.name == "format" and "trace.jsonl" in step.detail


def test_a_nonce_must_be_the_one_that_was_sent(score, notary):
    with notary.nonce(b"challenge"):
        score(torch.ones(1, 8))
    record = notary.last
    assert verify(record, nonce=b"challenge").ok
    for same in (b"challenge".hex().upper(), memoryview(b"challenge"), bytearray(b"challenge")):
        assert verify(record, nonce=same).ok
    assert verify(record, nonce=b"challenge".hex()).ok
    assert only_failure(verify(record, nonce=b"another")).name == "nonce"
    assert verify(record)["nonce"].outcome == NOT_CHECKED


@pytest.mark.parametrize(
    "nonce, error", [(b"", ValueError), ("", ValueError), ("xyz", ValueError), (5, TypeError)]
)
def test_a_nonce_that_challenges_nobody_is_refused_before_anything_is_read(nonce, error):
    with pytest.raises(error, match="nonce"):
        verify("absent.tnr", nonce=nonce)


def test_checkpoints_policies_and_signers_that_are_no_files_are_os_errors(call, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for special in (str(tmp_path / "pipe"), "/dev/zero"):
        for option in ("signer", "checkpoint", "policy"):
            with pytest.raises(OSError, match="not a regular file"):
                verify(call[0], **{option: special})


def test_a_checkpoint_file_that_is_too_large_says_nothing_about_the_log(call, tmp_path):
    (tmp_path / "large").write_bytes(b"x\n" * 2**20)
    step = verify(call[0], checkpoint=tmp_path / "large")["log consistency"]
    assert step.outcome == NOT_CHECKED and "too large" in step.detail


def test_a_record_without_a_nonce_does_not_answer_a_challenge(call):
    step = only_failure(verify(call[0], nonce=b"challenge"))
    assert step.name == "nonce" and "without a nonce" in step.detail


def test_verifying_needs_neither_torch_nor_numpy(call, net, tmp_path):
    path = saved(call[0], tmp_path, inputs=call[1], outputs=call[2], disclose=("weights",))

    save_file(net.state_dict(), tmp_path / "model.safetensors")
    code = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'transformers'): sys.modules[name] = None\n"
        "import torchnotary\n"
        f"v = torchnotary.verify({str(path)!r}, model={str(tmp_path / 'model.safetensors')!r})\n"
        "assert v['weights'].outcome == v['outputs'].outcome == 'passed', str(v)\n"
        "assert v.ok, str(v)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_a_damaged_private_store_says_nothing_against_the_record(call, notary):

    notary.close()
    path = next(notary.folder.glob("*/private/private.sqlite"))
    with sqlite3.connect(path) as store:
        store.execute("UPDATE parts SET data = x'00'")
    store.close()
    verdict = verify(Record.from_bytes(container.pack({"bundle.json": call[0].bundle.encode()})))
    assert verdict.ok
    verdict = verify(
        Record.from_bytes(container.pack({"bundle.json": call[0].bundle.encode()})),
        outputs=call[2],
    )
    assert verdict["outputs"].outcome == NOT_CHECKED and verdict.exit_code == 3


def test_a_record_that_never_became_durable_raises_instead_of_being_judged(
    notary, net, monkeypatch
):

    def fail(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CallJob, "build", fail)
    with pytest.warns(RuntimeWarning):
        notary.record(lambda x: x)(1)
        record = notary.last
        with pytest.raises(torchnotary.NotaryError):
            verify(record)
        with pytest.raises(torchnotary.NotaryError):
            notary.flush()  # says so once, and is then content
