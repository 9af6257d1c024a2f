"""The verifier: each step on real records, with what it was asked and what an attacker changed."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys

import numpy
import pytest
import torch

import torchnotary
from torchnotary.errors import MalformedRecord, RootMismatch, UnknownSigner, VerificationFailed
from torchnotary.keys import SigningKey, trust
from torchnotary.log.checkpoint import Checkpoint, SignedNote
from torchnotary.log.leaf import entry_leaf, leaf_hash
from torchnotary.log.proofs import TlogProof
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.manifest import Manifest
from torchnotary.statement import container, envelope
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.lines import canonical, encode_file, parse
from torchnotary.statement.openings import encode_openings
from torchnotary.statement.record import Record
from torchnotary.verifier.steps import STEPS, verify
from torchnotary.verifier.verdict import STEP_NAMES

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)
    ).eval()


@pytest.fixture
def score(notary, net):
    @notary.record
    def score(x, scale=2):
        with torch.no_grad():
            return {"logits": net(x) * scale, "shape": list(x.shape)}

    return score


@pytest.fixture
def call(score, notary):
    """A recorded call: its record, inputs and outputs."""
    x = torch.arange(40, dtype=torch.float32).reshape(5, 8)
    y = score(x)
    notary.flush()
    return notary.last, {"x": x, "scale": 2}, y


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Turns this test into somebody else: another home, without keys and private stores."""
    return lambda: monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))


def saved(record, tmp_path, **options):
    path = tmp_path / "record.tnr"
    record.save(path, **options)
    return path


def outcomes(verdict):
    return {step.name: step.outcome for step in verdict.steps}


def only_failure(verdict):
    """The one step that failed."""
    failed = verdict.named(FAILED)
    assert [step.name for step in failed] == [failed[0].name]
    assert verdict.exit_code == 1
    return failed[0]


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


# signer


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


def test_a_policy_restricts_origins_and_requires_steps(call, tmp_path):
    path = saved(call[0], tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text('origins = ["torchnotary.log/of-another"]\n')
    assert only_failure(verify(path, policy=policy)).name == "log inclusion"
    policy.write_text('required = ["witness"]\n')
    verdict = verify(path, policy=policy)
    assert verdict.exit_code == 3 and "witness" in verdict.headline


# format and signature


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


def repacked(path, members=None, **changes):
    """The bytes of a record whose bundle (or other members) were exchanged."""
    held = container.read(path)
    bundle = Bundle.decode(held["bundle.json"])
    fields = {
        "envelope": bundle.envelope,
        "public_key": bundle.public_key,
        "log_public_key": bundle.log_public_key,
        "tlog_proof": bundle.tlog_proof,
    }
    held["bundle.json"] = Bundle(**{**fields, **changes}).encode()
    return container.pack({**held, **(members or {})})


def test_a_statement_whose_signature_is_wrong_is_never_parsed(call, tmp_path, monkeypatch):
    path = saved(call[0], tmp_path)
    genuine = call[0].envelope
    changed = envelope.Envelope(b"{not json", genuine.signatures)
    verdict = verify(repacked(path, envelope=changed))
    assert only_failure(verdict).name == "signature"
    assert verdict["format"].outcome == PASSED
    assert verdict.claims is None
    assert {outcomes(verdict)[name] for name in STEP_NAMES[2:]} == {NOT_CHECKED}


def resigned(path, edit, key=None, keep_proof=False):
    """A record with an edited statement, signed anew by ``key`` (default: the user's own) and
    entered into a log of its own: intact, but saying something else."""
    record = Record.load(path)
    statement = parse(record.payload)
    edit(statement)
    key = key or SigningKey.load()
    sealed = envelope.sign(canonical(statement), key)
    log_key = SigningKey.generate()
    leaf = entry_leaf(sealed, key.public.fingerprint)
    checkpoint = Checkpoint(
        f"torchnotary.log/{log_key.public.fingerprint[:32]}", 1, leaf_hash(leaf)
    )
    proof = TlogProof(0, (), checkpoint.sign(log_key)).to_text()
    changes = {"envelope": sealed, "public_key": key.public.spki}
    if not keep_proof:
        changes |= {"tlog_proof": proof, "log_public_key": log_key.public.spki}
    return repacked(path, **changes)


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


# log


def test_a_record_whose_log_entry_is_another_record_is_refused(score, notary, tmp_path):
    score(torch.ones(1, 8))
    first = notary.last
    score(torch.zeros(1, 8))
    path = saved(first, tmp_path)
    step = only_failure(verify(repacked(path, tlog_proof=notary.last.tlog_proof)))
    assert step.name == "log inclusion"


def test_a_signature_by_another_key_over_the_same_statement_is_not_the_logged_one(call, tmp_path):
    path = saved(call[0], tmp_path)
    forged = resigned(path, lambda s: None, key=SigningKey.generate(), keep_proof=True)
    assert only_failure(verify(forged)).name == "log inclusion"


def test_the_logs_key_must_be_the_one_its_origin_names(call, tmp_path):
    path, impostor = saved(call[0], tmp_path), SigningKey.generate()
    proof = TlogProof.from_text(call[0].tlog_proof)
    held = Checkpoint.parse(SignedNote.parse(proof.checkpoint).text)
    resigned_note = held.sign(impostor)
    forged = TlogProof(proof.index, proof.hashes, resigned_note).to_text()
    data = repacked(path, tlog_proof=forged, log_public_key=impostor.public.spki)
    assert only_failure(verify(data)).name == "log inclusion"


def checkpoint_of(record):
    return TlogProof.from_text(record.tlog_proof).checkpoint


def log_of(notary):
    return LogReader.open(LogFolder(notary.folder).logs()[-1])


def forged_checkpoint(notary, size, root=b"\0" * 32):
    """A checkpoint the log's own key signed for a history that is not the stored one."""
    from torchnotary.log.token import Custody

    custody = Custody.find(LogFolder(notary.folder).logs()[-1])
    return Checkpoint(custody.origin, size, root).sign(custody.key)


def test_a_checkpoint_of_the_same_size_passes_consistency_and_witness(call, tmp_path):
    note = tmp_path / "checkpoint"
    note.write_text(checkpoint_of(call[0]))
    for given in (note, str(note), note.read_text(), note.read_bytes()):
        verdict = verify(call[0], checkpoint=given)
        assert verdict.ok
        assert verdict["log consistency"].outcome == verdict["witness"].outcome == PASSED


def test_a_checkpoint_that_contradicts_the_log_is_a_failure_with_both_roots(call, notary):
    verdict = verify(call[0], checkpoint=forged_checkpoint(notary, 1))
    step = only_failure(verdict)
    assert step.name == "log consistency"
    assert isinstance(step.error, RootMismatch)
    assert "0" * 64 in step.detail
    assert verdict["witness"].outcome == NOT_CHECKED


def test_a_later_checkpoint_is_connected_through_the_log_on_this_machine(
    call, score, notary, tmp_path, stranger
):
    path = saved(call[0], tmp_path)
    for _ in range(3):
        score(torch.ones(2, 8))
    notary.flush()
    later = log_of(notary).checkpoint()[1]
    verdict = verify(path, checkpoint=later)
    assert verdict.ok and verdict["witness"].outcome == PASSED
    assert "covers entry 0" in verdict["witness"].detail
    stranger()
    verdict = verify(path, checkpoint=later, signer=call[0].public_key)
    assert verdict.exit_code == 3
    assert verdict["log consistency"].outcome == verdict["witness"].outcome == NOT_CHECKED
    assert "no proof at hand" in verdict["log consistency"].detail


def test_a_later_checkpoint_of_a_rewritten_history_is_a_failure(call, score, notary, tmp_path):
    path = saved(call[0], tmp_path)
    for _ in range(3):
        score(torch.ones(2, 8))
    notary.flush()
    step = only_failure(verify(path, checkpoint=forged_checkpoint(notary, 4)))
    assert step.name == "log consistency"


def test_a_checkpoint_that_ends_before_the_record_is_no_witness_of_it(score, notary, tmp_path):
    score(torch.ones(2, 8))
    early = checkpoint_of(notary.last)
    score(torch.zeros(2, 8))
    verdict = verify(notary.last, checkpoint=early)
    assert verdict["log consistency"].outcome == PASSED
    assert verdict["witness"].outcome == NOT_CHECKED
    assert "ends before entry 1" in verdict["witness"].detail
    assert verdict.exit_code == 3


@pytest.mark.parametrize("given", ["not a note\n", "a\n1\nAAAA\n\n\u2014 a AAAA\n"])
def test_a_checkpoint_that_says_nothing_of_this_log_leaves_the_question_open(call, given):
    verdict = verify(call[0], checkpoint=given)
    assert verdict["log consistency"].outcome == NOT_CHECKED
    assert verdict.exit_code == 3


def test_another_logs_checkpoint_leaves_the_question_open(call):
    key = SigningKey.generate()
    other = Checkpoint(f"torchnotary.log/{key.public.fingerprint[:32]}", 1, b"\1" * 32).sign(key)
    verdict = verify(call[0], checkpoint=other)
    assert verdict["log consistency"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert f"it is of torchnotary.log/{key.public.fingerprint[:32]}" in str(verdict)


# nonce


def test_a_nonce_must_be_the_one_that_was_sent(score, notary):
    with notary.nonce(b"challenge"):
        score(torch.ones(1, 8))
    record = notary.last
    assert verify(record, nonce=b"challenge").ok
    assert verify(record, nonce=b"challenge".hex()).ok
    assert only_failure(verify(record, nonce=b"another")).name == "nonce"
    assert verify(record)["nonce"].outcome == NOT_CHECKED


def test_a_record_without_a_nonce_does_not_answer_a_challenge(call):
    step = only_failure(verify(call[0], nonce=b"challenge"))
    assert step.name == "nonce" and "without a nonce" in step.detail


# weights and structure


def test_a_changed_weight_is_named_and_leaves_the_structure_alone(call, net):
    with torch.no_grad():
        net[2].weight[1, 3] += 1e-3
    step = only_failure(verify(call[0], model=net))
    assert step.name == "weights" and "2.weight" in step.detail


def test_a_changed_constant_is_named_at_the_structure_alone(call, net):
    net[1].eps = 1e-3
    step = only_failure(verify(call[0], model=net))
    assert step.name == "structure" and "eps" in step.detail


def test_without_its_lines_a_changed_model_still_fails_at_the_right_step(
    call, net, tmp_path, stranger
):
    path, key = saved(call[0], tmp_path), call[0].public_key
    stranger()
    assert verify(path, signer=key, model=net).ok
    with torch.no_grad():
        net[0].bias[0] += 1
    assert only_failure(verify(path, signer=key, model=net)).name == "weights"


def test_a_state_dict_and_a_weights_file_answer_for_the_weights_alone(call, net, tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file(net.state_dict(), file)
    for model in (net.state_dict(), file, str(file), Manifest.of(file)):
        verdict = verify(call[0], model=model)
        assert verdict.ok
        assert verdict["weights"].outcome == PASSED
        assert verdict["structure"].outcome == NOT_CHECKED and not verdict["structure"].asked


@pytest.mark.parametrize("disclosed", [True, False])
def test_a_file_that_holds_more_than_the_module_loads_still_answers(
    call, net, tmp_path, stranger, disclosed
):
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    save_file({**net.state_dict(), "position_ids": torch.arange(5)}, file)
    path = saved(call[0], tmp_path, disclose=("weights",) if disclosed else ())
    key = call[0].public_key
    stranger()
    assert verify(path, signer=key, model=file)["weights"].outcome == PASSED
    save_file({**net.state_dict(), "0.bias": torch.ones(16)}, file)
    assert only_failure(verify(path, signer=key, model=file)).name == "weights"


def test_a_saved_manifest_stands_for_its_model(call, net, tmp_path):
    Manifest.of(net).save(tmp_path / "manifest")
    verdict = verify(call[0], model=tmp_path / "manifest")
    assert verdict["weights"].outcome == verdict["structure"].outcome == PASSED


def test_a_model_for_a_record_without_one_is_a_question_left_open(notary, net):
    @notary.record
    def double(x):
        return x * 2

    double(torch.ones(2))
    verdict = verify(notary.last, model=net)
    assert verdict.exit_code == 3
    assert "commits to no weights" in verdict["weights"].detail


def test_several_models_are_compared_under_their_names(notary):
    encoder, head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    @notary.record(model={"encoder": encoder, "head": head})
    def run(x):
        with torch.no_grad():
            return head(encoder(x))

    run(torch.ones(1, 4))
    assert verify(notary.last, model={"encoder": encoder, "head": head}).ok
    assert not verify(notary.last, model={"encoder": head, "head": encoder}).ok


@pytest.mark.parametrize("name", ["weights.jsonl", "structure.jsonl"])
def test_a_manifest_that_travels_and_is_not_the_signed_one_fails_its_step(call, tmp_path, name):
    path = saved(call[0], tmp_path, disclose=("weights", "structure"))
    lines = container.read(path)[name].splitlines()
    other = encode_file(lines[:-1])
    step = only_failure(verify(repacked(path, members={name: other})))
    assert step.name == name.partition(".")[0]


# inputs and outputs


def test_a_tuple_names_the_arguments_in_their_order(call):
    record, inputs, _ = call
    assert verify(record, inputs=(inputs["x"], 2))["inputs"].outcome == PASSED
    verdict = verify(record, inputs=(inputs["x"],))
    assert verdict["inputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "scale" in verdict["inputs"].detail


def test_arguments_recorded_as_none_need_not_be_given(notary):
    @notary.record
    def first(x, mask=None):
        return x[0]

    first(torch.ones(2, 2))
    assert verify(notary.last, inputs=(torch.ones(2, 2),)).ok
    step = only_failure(verify(notary.last, inputs=(torch.ones(2, 2), torch.ones(2))))
    assert step.name == "inputs" and "mask" in step.detail


def test_positional_extras_are_matched_to_args(notary):
    @notary.record
    def total(start, *args, end=None):
        return start + sum(args)

    total(torch.ones(1), torch.ones(1), torch.zeros(1))
    given = (torch.ones(1), torch.ones(1), torch.zeros(1))
    assert verify(notary.last, inputs=given).ok
    assert not verify(notary.last, inputs=given[:2]).ok
    assert not verify(notary.last, inputs=(*given, torch.ones(1))).ok


def test_differing_rows_are_named_by_path_and_number(call):
    record, inputs, outputs = call
    logits = outputs["logits"].clone()
    logits[1, 2] += 1
    logits[4, 0] += 1
    step = only_failure(verify(record, outputs={**outputs, "logits": logits}))
    assert step.name == "outputs"
    assert 'output["logits"]: other elements in rows 1, 4' in step.detail
    x = inputs["x"].clone()
    x[0, 0] = -x[0, 0]  # +0 becomes -0: another value to a commitment
    step = only_failure(verify(record, inputs={**inputs, "x": x}))
    assert "x: other elements in row 0" in step.detail


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda y: {**y, "logits": y["logits"].double()}, "dtype float32 recorded"),
        (lambda y: {**y, "logits": y["logits"].T}, "shape (5, 4) recorded"),
        (lambda y: {**y, "logits": y["logits"].view(torch.int32)}, "dtype"),
        (lambda y: {**y, "shape": [5, 9]}, 'output["shape"][1]: another value'),
        (lambda y: {"logits": y["logits"]}, "not among the given values"),
        (lambda y: {**y, "more": 1}, "not in the record"),
        (lambda y: {**y, "shape": [5, None]}, "recorded as int, given as none"),
        (lambda y: y["logits"], "not among the given values"),
    ],
)
def test_every_way_outputs_can_differ_is_named(call, change, named):
    step = only_failure(verify(call[0], outputs=change(call[2])))
    assert step.name == "outputs" and named in step.detail


def test_numpy_arrays_and_leaf_paths_answer_as_well(call):
    record, inputs, outputs = call
    assert verify(record, inputs={"x": inputs["x"].numpy(), "scale": 2}).ok
    by_path = {
        'output["logits"]': outputs["logits"].numpy(),
        'output["shape"][0]': 5,
        'output["shape"][1]': 8,
    }
    assert verify(record, outputs=by_path).ok


def test_a_receiver_without_digests_gets_a_question_left_open(call, tmp_path, stranger):
    path, key = saved(call[0], tmp_path), call[0].public_key
    stranger()
    verdict = verify(path, signer=key, outputs=call[2])
    assert verdict["outputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "--disclose" in verdict.next_steps[0]


def test_a_receiver_of_a_disclosed_copy_checks_values_and_digests(call, tmp_path, stranger):
    record, inputs, outputs = call
    key = record.public_key
    path = saved(record, tmp_path, disclose=("inputs", "outputs"))
    stranger()
    verdict = verify(path, signer=key)
    assert verdict["inputs"].outcome == verdict["outputs"].outcome == PASSED
    assert verify(path, signer=key, inputs=inputs, outputs=outputs).ok
    other = {**outputs, "logits": outputs["logits"] + 1}
    assert only_failure(verify(path, signer=key, outputs=other)).name == "outputs"


def test_an_opening_that_does_not_open_its_line_fails_that_step(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs"))
    record = Record.load(path)
    for tree in ("inputs", "outputs"):
        for part in (0, 1):  # the digest, then the salt
            changed = {t: dict(lines) for t, lines in record.openings.items()}
            pair = list(changed[tree][0][2])
            pair[part] = hashlib.sha256(pair[part]).digest()
            changed[tree][0] = [*changed[tree][0][:2], tuple(pair), *changed[tree][0][3:]]
            data = repacked(path, members={"openings.jsonl": encode_openings(changed)})
            step = only_failure(verify(data))
            assert step.name == tree and isinstance(step.error, RootMismatch)


def test_openings_of_another_number_or_line_are_malformed(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("outputs",))
    pairs = Record.load(path).openings["outputs"]
    for changed in ({**pairs, 0: pairs[0][:-1]}, {**pairs, 9: pairs[0]}):
        data = repacked(path, members={"openings.jsonl": encode_openings({"outputs": changed})})
        step = only_failure(verify(data))
        assert step.name == "outputs" and isinstance(step.error, MalformedRecord)


def test_leaves_left_closed_leave_the_question_open(call, tmp_path, stranger):
    path, key = saved(call[0], tmp_path, disclose=("outputs",)), call[0].public_key
    pairs = dict(Record.load(path).openings["outputs"])
    del pairs[1]
    data = repacked(path, members={"openings.jsonl": encode_openings({"outputs": pairs})})
    stranger()
    assert verify(data, signer=key)["outputs"].outcome == NOT_CHECKED
    verdict = verify(data, signer=key, outputs=call[2])
    assert (
        verdict["outputs"].outcome == NOT_CHECKED and "not disclosed" in verdict["outputs"].detail
    )
    wrong = {**call[2], "logits": call[2]["logits"] + 1}
    assert only_failure(verify(data, signer=key, outputs=wrong)).name == "outputs"


def test_values_that_travel_are_checked_against_their_openings(call, tmp_path):
    record, inputs, outputs = call
    path = saved(record, tmp_path, outputs=outputs)
    assert "values and digests" in verify(path)["outputs"].detail
    members = container.read(path)
    evidence = bytearray(members["evidence.safetensors"])
    evidence[-1] ^= 1
    data = container.pack({**members, "evidence.safetensors": bytes(evidence)})
    step = only_failure(verify(data))
    assert step.name == "outputs" and isinstance(step.error, VerificationFailed)


def test_values_without_the_openings_that_bind_them_are_refused(call, tmp_path):
    path = saved(call[0], tmp_path, outputs=call[2])
    for name in ("openings.jsonl", "outputs.jsonl"):
        members = container.read(path)
        del members[name]
        step = only_failure(verify(container.pack(members)))
        assert step.name == "outputs" and isinstance(step.error, MalformedRecord)


def test_a_line_file_that_was_changed_fails_its_step(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs"))
    for tree in ("inputs", "outputs"):
        lines = container.read(path)[f"{tree}.jsonl"].splitlines()
        data = repacked(path, members={f"{tree}.jsonl": encode_file(lines[::-1])})
        assert only_failure(verify(data)).name == tree


@pytest.mark.parametrize("name", ["inputs", "outputs", "weights", "structure"])
def test_a_file_must_have_both_the_sha256_and_the_root_that_were_signed(call, tmp_path, name):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs", "weights", "structure"))

    def other_sha256(statement):
        for subject in statement["subject"]:
            if subject["name"] == f"{name}.jsonl":
                subject["digest"]["sha256"] = "ab" * 32

    def other_root(statement):
        predicate = statement["predicate"]
        section = predicate["model"] if name in ("weights", "structure") else predicate
        section[name]["root"] = "cd" * 32

    for edit, named in ((other_sha256, "ab" * 32), (other_root, "cd" * 32)):
        verdict = verify(resigned(path, edit))
        failed = [step for step in verdict.named(FAILED) if step.name == name]
        assert failed and named in failed[0].detail


def test_a_leaf_that_no_record_binds_cannot_pass(notary):
    @notary.record
    def describe(thing, x):
        return x

    describe(object(), torch.ones(2))
    verdict = verify(notary.last, inputs={"x": torch.ones(2), "thing": object()})
    assert verdict["inputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "thing (builtins.object)" in verdict["inputs"].detail
    step = only_failure(verify(notary.last, inputs={"x": torch.zeros(2), "thing": object()}))
    assert step.name == "inputs"


def test_a_call_without_arguments_and_results_can_be_checked_too(notary):
    @notary.record
    def nothing():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        nothing()
    assert verify(notary.last, inputs={}).ok
    assert only_failure(verify(notary.last, inputs={"x": 1})).name == "inputs"
    assert "raised builtins.ValueError" in str(verify(notary.last).claims)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"kind": "tensor", "shape": [-1]}, "sizes"),
        ({"kind": "tensor", "dtype": "float32", "shape": [5, 4], "rows": 4, "run": 1}, "5 rows"),
        ({"kind": "tensor", "dtype": "float32", "shape": [4], "rows": 4, "run": 1}, "members"),
        ({"kind": "mystery"}, "known kind"),
        ({"kind": "str", "class": "x"}, "members"),
        ({"kind": "unbound"}, "members"),
        ({"kind": "str", "commitment": "AB" * 32}, "64 hexadecimal"),
        ({"kind": "str", "path": 3}, "text"),
    ],
)
def test_a_signed_leaf_of_another_form_is_malformed(line, named):
    from torchnotary.statement.values import leaf_lines

    whole = {"commitment": "ab" * 32, "path": "x", "type": "leaf", **line}
    with pytest.raises(MalformedRecord, match=named):
        leaf_lines([whole], "inputs.jsonl")


def test_a_repeated_path_is_malformed():
    from torchnotary.statement.values import leaf_lines

    line = {"commitment": "ab" * 32, "kind": "str", "path": "x", "type": "leaf"}
    with pytest.raises(MalformedRecord, match="line 2.*repeats"):
        leaf_lines([line, line], "inputs.jsonl")


# the whole file


def test_no_single_bit_of_a_record_can_be_flipped(notary, tmp_path):
    """Every bit, of a record that discloses everything: never valid, always a typed refusal."""

    @notary.record
    def tiny(x):
        return x + 1

    tiny(torch.ones(2, 2))
    path = saved(notary.last, tmp_path, inputs=(torch.ones(2, 2),), outputs=torch.full((2, 2), 2.0))
    data = path.read_bytes()
    assert verify(data).ok
    verdicts = (
        verify(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])
        for i in range(len(data))
        for bit in range(8)
    )
    survivors = [n for n, verdict in enumerate(verdicts) if verdict.exit_code != 1]
    assert survivors == []


def test_no_byte_of_a_member_can_be_changed_by_somebody_who_mends_the_file_around_it(
    notary, tmp_path
):
    """As above, but with the checksums of the file made anew, so that the steps must notice."""
    net = torch.nn.Linear(2, 1)

    @notary.record(model=net)
    def tiny(x):
        return net(x).detach()

    y = tiny(torch.ones(2, 2))
    path = saved(
        notary.last,
        tmp_path,
        disclose=("weights", "structure"),
        inputs=(torch.ones(2, 2),),
        outputs=y,
    )
    members = container.read(path)
    assert verify(container.pack(members)).ok
    survivors = []
    for name, data in members.items():
        for i in range(len(data)):
            changed = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
            if verify(container.pack({**members, name: changed})).exit_code != 1:
                survivors.append((name, i, data[i : i + 20]))
    assert survivors == []


@pytest.mark.parametrize("field", ["public_key", "log_public_key"])
def test_a_key_that_is_none_is_a_malformed_record(call, tmp_path, field):
    path = saved(call[0], tmp_path)
    for key in (b"", b"\0" * 44, call[0].public_key.spki[:-1]):
        step = only_failure(verify(repacked(path, **{field: key})))
        assert step.name == "format" and isinstance(step.error, MalformedRecord)


def test_no_truncation_and_no_byte_added_is_valid(call, tmp_path):
    data = saved(call[0], tmp_path, disclose=("outputs",)).read_bytes()
    lengths = [0, 1, 100, len(data) // 2, len(data) - 1]
    for changed in (*(data[:n] for n in lengths), data + b"\0", b"\0" + data, data + data):
        assert verify(changed).exit_code == 1


def test_verifying_needs_neither_torch_nor_numpy(call, net, tmp_path):
    path = saved(call[0], tmp_path, inputs=call[1], outputs=call[2], disclose=("weights",))
    from safetensors.torch import save_file

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


def test_numpy_inputs_of_any_byte_order_are_the_same_values(notary):
    @notary.record
    def double(x):
        return x * 2

    double(numpy.arange(6, dtype="<f8").reshape(2, 3))
    given = numpy.arange(6, dtype=">f8").reshape(2, 3)
    assert verify(notary.last, inputs=(given,)).ok


def test_a_model_that_cannot_be_read_is_the_callers_error_and_no_verdict(call, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(MalformedRecord, match="broken.safetensors"):
        verify(call[0], model=tmp_path / "broken.safetensors")
    with pytest.raises(FileNotFoundError):
        verify(call[0], model=tmp_path / "absent.safetensors")
    # A record that is not intact says so first, whatever else was brought along.
    assert verify(b"", model=tmp_path / "broken.safetensors").exit_code == 1


def test_a_damaged_private_store_says_nothing_against_the_record(call, notary):
    import sqlite3

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
    from torchnotary.capture.job import CallJob

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


@pytest.mark.parametrize("disclosed", [True, False])
def test_the_files_of_a_real_model_answer_for_the_loaded_one(
    notary, minilm, minilm_folder, tokenizer, tmp_path, stranger, disclosed
):
    """MiniLM's file holds a position_ids that the module makes itself."""

    @notary.record(model=minilm)
    def embed(text):
        with torch.no_grad():
            return minilm(**tokenizer(text, return_tensors="pt")).last_hidden_state

    embed("Can anyone prove what ran?")
    path = saved(notary.last, tmp_path, disclose=("weights", "structure") if disclosed else ())
    key = notary.last.public_key
    stranger()
    verdict = verify(path, signer=key, model=minilm_folder)
    assert verdict.ok and verdict["weights"].outcome == PASSED, str(verdict)
    verdict = verify(path, signer=key, model=minilm)
    assert verdict["weights"].outcome == verdict["structure"].outcome == PASSED
