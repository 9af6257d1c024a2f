"""The verifier and the model: weights and structure, live, from files, and of real models."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from torchnotary.errors import MalformedRecord, NotaryError
from torchnotary.manifest import Manifest
from torchnotary.statement import container
from torchnotary.statement.lines import canonical, encode_file, parse, sha256_hex, tree_of
from torchnotary.verifier.steps import verify
from verifier_helpers import (
    NOT_CHECKED,
    PASSED,
    only_failure,
    repacked,
    resigned,
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


class Named(torch.nn.Module):
    """A model that has given tensors under given names."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, torch.nn.Parameter(tensor.clone()))

    def forward(self, x):
        return x


FIRST, SECOND = torch.arange(9.0).reshape(3, 3), torch.eye(3)


@pytest.mark.parametrize("disclosed", [True, False])
@pytest.mark.parametrize(
    "recorded",
    [
        {"layer0": SECOND, "layer1": FIRST},
        {"block0": SECOND, "block1": FIRST},
        {"layer0": FIRST},
        {"layer0": FIRST, "layer1": SECOND, "layer2": SECOND},
        {f"x{number}": FIRST for number in range(5)},
    ],
    ids=["swapped", "swapped-and-renamed", "one-of-two", "one-twice", "one-five-times"],
)
def test_a_file_is_not_said_to_hold_a_model_of_the_same_tensors_in_other_places(
    notary, tmp_path, stranger, disclosed, recorded
):
    file = tmp_path / "model.safetensors"
    save_file({"layer0": FIRST, "layer1": SECOND}, file)
    model = Named(recorded)
    notary.record(lambda x: x, model=model)(torch.ones(1))
    path = saved(notary.last, tmp_path, disclose=("weights",) if disclosed else ())
    key = notary.last.public_key
    stranger()
    verdict = verify(path, signer=key, model=file)
    assert verdict["weights"].outcome != PASSED
    assert verdict.exit_code in (1, 3)


@pytest.mark.parametrize("disclosed", [True, False])
def test_a_saved_manifest_stands_for_its_model_and_the_step_says_so(
    call, net, tmp_path, stranger, disclosed
):
    Manifest.of(net).save(tmp_path / "manifest")
    path = saved(call[0], tmp_path, disclose=("weights", "structure") if disclosed else ())
    key = call[0].public_key
    stranger()
    verdict = verify(path, signer=key, model=tmp_path / "manifest")
    for step in (verdict["weights"], verdict["structure"]):
        assert step.outcome == PASSED
        assert "as the saved manifest says" in step.detail
    assert "manifest" not in verify(path, signer=key, model=net)["weights"].detail


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_beside_a_saved_manifest_are_hashed_rather_than_believed(call, net, tmp_path, name):
    folder = tmp_path / "model"
    Manifest.of(net).save(folder)
    state = {key: torch.zeros_like(value) for key, value in net.state_dict().items()}
    save = save_file if name.endswith("safetensors") else torch.save
    save(state, folder / name)
    assert only_failure(verify(call[0], model=folder)).name == "weights"
    save({key: value.clone() for key, value in net.state_dict().items()}, folder / name)
    step = verify(call[0], model=folder)["weights"]
    assert step.outcome == PASSED and "manifest" not in step.detail


@pytest.mark.parametrize("other", ["net.pt", "weights.h5", "notes.txt"])
def test_a_saved_manifest_among_other_files_is_refused_as_ambiguous(call, net, tmp_path, other):
    folder = tmp_path / "model"
    Manifest.of(net).save(folder)
    (folder / other).write_bytes(b"anything")
    with pytest.raises(NotaryError, match="saved manifest|no weights in the folder"):
        verify(call[0], model=folder)


@pytest.mark.filterwarnings("ignore")
def test_a_change_is_told_from_the_recorded_to_the_given_model(notary):
    net = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval()
    notary.record(lambda x: net(x), model=net)(torch.ones(1, 4))
    int8 = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
    verdict = verify(notary.last, model=int8)
    assert "modules.linear.Linear → torch.ao.nn.quantized" in verdict["structure"].detail
    assert "0.weight removed (float32" in verdict["weights"].detail


HOSTILE = {
    "a-quote-as-a-key": {'"': 1},
    "half-an-escape-as-a-key": {"\\": 1},
    "a-key-spelled-otherwise": {"\\u0061": 1},
    "a-dict-of-no-pairs": {"in_features": {"dict": 5}},
    "pairs-of-one": {"in_features": {"dict": [[1]]}},
    "a-key-inside": {"in_features": {"dict": {"\\": 2}}},
    "a-set-that-is-none": {"in_features": {"set": 5}},
    "a-complex-number-of-nothing": {"in_features": {"complex": None}},
    "a-complex-number-of-one-part": {"in_features": {"complex": [1]}},
    "a-float-that-is-none": {"in_features": {"f64": 5}},
    "a-digest-alone": {"in_features": {"sha256": 5}},
    "a-class-that-is-no-text": {"in_features": {"class": [1], "values": {}}},
    "an-unknown-tag": {"in_features": {"tag": "x"}},
    "an-empty-object": {"in_features": {}},
}


@pytest.mark.parametrize("attributes", HOSTILE.values(), ids=HOSTILE)
def test_attributes_in_no_encoding_are_malformed_and_end_nothing_else(attributes):
    line = {
        "attributes": attributes,
        "class": "torch.nn.modules.linear.Linear",
        "name": "",
        "type": "module",
        "unbound": [],
    }
    with pytest.raises(MalformedRecord, match="line 1: the attribute"):
        Manifest.from_files(None, encode_file([canonical(line)]))
    # Lines that were never parsed are told apart all the same.
    live = Manifest.of(torch.nn.Linear(2, 2))
    hostile = Manifest([], [canonical(line)])
    assert str(hostile.diff(live)) and str(live.diff(hostile))


def test_a_travelling_structure_with_hostile_attributes_fails_at_its_step(call, net, tmp_path):
    path = saved(call[0], tmp_path, disclose=("structure",))
    lines = container.read(path)["structure.jsonl"].splitlines()
    line = parse(lines[-1])
    line["attributes"] = {"a": {"set": 5}}
    data = encode_file([*lines[:-1], canonical(line)])

    def edit(statement):
        model = statement["predicate"]["model"]
        model["structure"] = tree_of(data[:-1].split(b"\n")).to_json()
        for subject in statement["subject"]:
            if subject["name"] == "structure.jsonl":
                subject["digest"]["sha256"] = sha256_hex(data)

    forged = tmp_path / "forged.tnr"
    forged.write_bytes(resigned(path, edit))
    step = only_failure(verify(repacked(forged, members={"structure.jsonl": data}), model=net))
    assert step.name == "structure" and "no encoding" in step.detail


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
