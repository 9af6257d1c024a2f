"""The verifier and the model: weights and structure, live, from files, and of real models."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from torchnotary.errors import MalformedRecord
from torchnotary.manifest import Manifest
from torchnotary.statement import container
from torchnotary.statement.lines import encode_file
from torchnotary.verifier.steps import verify
from verifier_helpers import (
    NOT_CHECKED,
    PASSED,
    only_failure,
    repacked,
    saved,
)


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


def test_a_model_that_cannot_be_read_is_the_callers_error_and_no_verdict(call, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(MalformedRecord, match="broken.safetensors"):
        verify(call[0], model=tmp_path / "broken.safetensors")
    with pytest.raises(FileNotFoundError):
        verify(call[0], model=tmp_path / "absent.safetensors")
    # A record that is not intact says so first, whatever else was brought along.
    assert verify(b"", model=tmp_path / "broken.safetensors").exit_code == 1


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
