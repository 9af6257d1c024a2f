"""Running records again: bitwise, within rounding, diverged and why, or not comparable and why."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from safetensors.torch import save_file

import torchnotary
from reproduce_helpers import X, broken, nudge, recorded
from torchnotary.errors import VerificationFailed
from torchnotary.statement import container


def test_a_call_run_again_gives_the_same_bits(notary, net):
    decorated, plain, record = recorded(notary, net)
    for call in (decorated, plain):
        for inputs in ((X,), (X, 2.0), {"x": X}, {"x": X, "scale": 2.0}, {"x": X.clone()}):
            found = torchnotary.reproduce(record, call, inputs)
            assert found.outcome == "bitwise", str(found)
            assert found.ok and bool(found) and found.exit_code == 0
            assert found.first_divergence is None
            assert found.model == "weights and structure as recorded"


def test_a_reproduction_is_not_recorded(notary, net):
    decorated, _, record = recorded(notary, net)
    notary.attach(net)
    last = notary.last.id
    notary.flush()
    before = notary.stats()["recorded"]
    assert torchnotary.reproduce(record, decorated, (X,)).ok
    notary.flush()
    assert notary.stats()["recorded"] == before
    assert notary.last.id == last
    net(X)  # recording goes on afterwards
    notary.flush()
    assert notary.stats()["recorded"] == before + 1


def test_a_module_is_reproduced_by_itself_attached_or_not(notary, net):
    notary.attach(net)
    with torch.no_grad():
        net(X)
    record = notary.last
    assert torchnotary.reproduce(record, net, (X,)).outcome == "bitwise"
    notary.detach(net)
    assert torchnotary.reproduce(record, net, {"input": X}).outcome == "bitwise"


def test_kept_inputs_are_used_where_none_are_given(full, net, tmp_path):
    decorated, _, record = recorded(full, net)
    assert torchnotary.reproduce(record, decorated).outcome == "bitwise"
    path = tmp_path / "run.tnr"
    record.save(path, disclose=("inputs", "outputs"))
    assert torchnotary.reproduce(path, decorated).outcome == "bitwise"


def test_without_kept_inputs_it_says_what_to_give(notary, net):
    decorated, _, record = recorded(notary, net)
    found = torchnotary.reproduce(record, decorated)
    assert found.outcome == "not comparable" and found.exit_code == 3
    assert "inputs were not kept" in str(found) and "Next: give the inputs" in str(found)


def test_other_inputs_are_not_comparable_and_the_difference_is_named(notary, net):
    decorated, _, record = recorded(notary, net)
    other = X.clone()
    other[3] += 1
    found = torchnotary.reproduce(record, decorated, (other,))
    assert found.outcome == "not comparable"
    assert "x: other elements in row 3" in found.cause
    assert torchnotary.reproduce(record, decorated, (X, 3.0)).outcome == "not comparable"


def test_arguments_the_call_does_not_take_are_not_comparable(notary, net):
    decorated, _, record = recorded(notary, net)
    for inputs in ((X, 2.0, 3), {"y": X}, ()):
        found = torchnotary.reproduce(record, decorated, inputs)
        assert found.outcome == "not comparable" and "does not take" in found.cause


def test_a_receiver_without_digests_is_told_to_ask_for_them(notary, net, tmp_path, monkeypatch):
    decorated, _, record = recorded(notary, net)
    path = tmp_path / "run.tnr"
    record.save(path)
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))
    found = torchnotary.reproduce(path, decorated, (X,))
    assert found.outcome == "not comparable" and "--disclose" in str(found)


def test_a_record_that_is_not_intact_is_refused_before_anything_runs(notary, net, tmp_path):
    decorated, _, record = recorded(notary, net)
    path = tmp_path / "run.tnr"
    record.save(path, outputs={"logits": net(X).detach() * 2.0})
    members = container.read(path)
    evidence = bytearray(members["evidence.safetensors"])
    evidence[-1] ^= 1
    path.write_bytes(container.pack({**members, "evidence.safetensors": bytes(evidence)}))
    ran = []
    with pytest.raises(VerificationFailed, match="outputs failed"):
        torchnotary.reproduce(path, lambda x, scale: ran.append(x), (X,))
    assert not ran


# the model


def test_a_changed_parameter_is_the_culprit_by_module_path(notary, net):
    decorated, _, record = recorded(notary, net)
    with torch.no_grad():
        net[2].weight[0, 0] += 1
    found = torchnotary.reproduce(record, decorated, (X,))
    assert found.outcome == "diverged" and found.exit_code == 1
    assert found.first_divergence.module == "2"
    assert str(found.first_divergence).startswith("2: weight differs")
    assert "Next: run it with the model that was recorded" in str(found)


def test_the_first_of_several_changed_parameters_is_the_one_that_runs_first(notary):
    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.z_first = torch.nn.Linear(4, 4)
            self.a_second = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.a_second(self.z_first(x))

    model = notary.attach(Backwards().eval())
    with torch.no_grad():
        model(torch.ones(1, 4))
        model.z_first.bias += 1
        model.a_second.bias += 1
        found = torchnotary.reproduce(notary.last, model, (torch.ones(1, 4),))
    assert found.first_divergence.module == "z_first"
    assert "2 tensors differ in all" in str(found.first_divergence)


def test_a_changed_constant_is_the_culprit_with_both_values(notary, net):
    decorated, _, record = recorded(notary, net)
    net[1].eps = 0.5
    found = torchnotary.reproduce(record, decorated, (X,))
    assert found.outcome == "diverged"
    assert "1.eps 1e-05 → 0.5" in str(found.first_divergence)


def test_a_change_planted_in_a_real_model_is_located_by_its_module_path(notary, minilm, tokenizer):
    model = notary.attach(copy.deepcopy(minilm))
    inputs = dict(tokenizer("Can anyone prove what ran?", return_tensors="pt"))
    with torch.no_grad():
        model(**inputs)
    record = notary.last
    with torch.no_grad():
        assert torchnotary.reproduce(record, model, inputs).outcome == "bitwise"
        paths = dict(model.named_modules())
        for path, parameter in (
            ("encoder.layer.4.output.dense", "weight"),
            ("encoder.layer.1.attention.self.key", "bias"),
            ("embeddings.word_embeddings", "weight"),
        ):
            tensor = getattr(paths[path], parameter)
            kept = tensor.clone()
            tensor.view(-1)[0] += 1
            found = torchnotary.reproduce(record, model, inputs)
            tensor.copy_(kept)
            assert found.outcome == "diverged"
            assert found.first_divergence.module == path
            assert f"{path}: {parameter} differs" in str(found.first_divergence)
        paths["encoder.layer.2.attention.output.LayerNorm"].eps = 1e-5
        found = torchnotary.reproduce(record, model, inputs)
    assert "encoder.layer.2.attention.output.LayerNorm.eps 1e-12 → 1e-05" in str(
        found.first_divergence
    )


def test_another_model_with_the_same_outputs_has_diverged_all_the_same(notary, net):
    decorated, _, record = recorded(notary, net)
    net.register_buffer("unused", torch.ones(1))
    found = torchnotary.reproduce(record, decorated, (X,))
    assert found.outcome == "diverged" and not found.differences
    assert "unused" in str(found.first_divergence)


def test_a_model_the_call_does_not_name_can_be_given(notary, net):
    decorated, _, record = recorded(notary, net)
    hidden = {"call": None}
    hidden["call"] = lambda x, scale=2.0: decorated.__wrapped__(x, scale)
    unnamed = eval("lambda x, scale=2.0: holder['call'](x, scale)", {"holder": hidden})
    found = torchnotary.reproduce(record, unnamed, (X,))
    assert found.outcome == "bitwise" and "not found" in found.model
    found = torchnotary.reproduce(record, unnamed, (X,), model=net)
    assert found.model == "weights and structure as recorded"
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[0].bias += 1
    assert torchnotary.reproduce(record, unnamed, (X,), model=changed).outcome == "diverged"


def test_a_weights_file_given_for_the_model_is_compared_as_in_verify(notary, net, tmp_path):
    decorated, _, record = recorded(notary, net)
    path = tmp_path / "model.safetensors"

    def outcome(**more):
        save_file({**net.state_dict(), **more}, path)
        return torchnotary.reproduce(record, decorated, (X,), model=path)

    assert outcome(position_ids=torch.arange(5)).outcome == "bitwise"
    found = outcome(head=torch.ones(2))
    assert found.outcome == "diverged"
    assert "the weights cannot be compared" in str(found.first_divergence)
    found = outcome(**{"0.bias": torch.ones(16)})
    assert "0: bias differs" in str(found.first_divergence)


def test_the_models_of_a_decorated_function_are_the_ones_it_was_recorded_with(notary):
    encoder, head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    @notary.record(model={"encoder": encoder, "head": head})
    def run(x):
        with torch.no_grad():
            return head(encoder(x))

    x = torch.ones(1, 4)
    run(x)
    record = notary.last
    assert torchnotary.reproduce(record, run, (x,)).model == "weights and structure as recorded"
    with torch.no_grad():
        head.bias += 1
    found = torchnotary.reproduce(record, run, (x,))
    assert found.first_divergence.module == "head"


def test_a_single_model_that_was_given_a_name_is_compared_under_it(notary):
    encoder = torch.nn.Linear(4, 4).requires_grad_(False)
    run = notary.record(lambda x: encoder(x), model={"encoder": encoder})
    run(torch.ones(1, 4))
    record = notary.last
    assert torchnotary.reproduce(record, run, (torch.ones(1, 4),)).outcome == "bitwise"
    encoder.bias += 1
    found = torchnotary.reproduce(record, run, (torch.ones(1, 4),))
    assert found.first_divergence.module == "encoder"


# outputs


def test_diverged_outputs_name_path_and_rows_and_how_to_learn_the_operator(notary, net):
    _, plain, record = recorded(notary, net)
    found = torchnotary.reproduce(record, broken(plain, nudge([1, 3])), (X,))
    assert found.outcome == "diverged"
    said = str(found.first_divergence)
    assert 'output["logits"]: other elements in rows 1, 3' in said
    assert 'trace="operators"' in said


def test_with_the_recorded_outputs_at_hand_rounding_is_told_from_divergence(notary, full, net):
    _, plain, record = recorded(notary, net)
    outputs = plain(X)
    call = broken(plain, nudge([1, 3]))
    found = torchnotary.reproduce(record, call, (X,), outputs=outputs)
    assert found.outcome == "within tolerance" and found.exit_code == 0
    (distance,) = found.distances
    assert distance.ulps == 1 and 0 < distance.largest <= distance.bound
    found = torchnotary.reproduce(record, broken(plain, lambda y: y + 1), (X,), outputs=outputs)
    assert found.outcome == "diverged" and found.distances[0].largest >= 1
    _, plain, record = recorded(full, net)
    assert torchnotary.reproduce(record, broken(plain, nudge([0]))).outcome == "within tolerance"


def test_outputs_that_are_not_the_recorded_ones_measure_nothing(notary, net):
    decorated, plain, record = recorded(notary, net)
    other = {"logits": plain(X)["logits"] + 1}
    found = torchnotary.reproduce(record, decorated, (X,), outputs=other)
    assert found.outcome == "not comparable" and "outputs given" in found.cause


def test_rounding_does_not_excuse_another_model(notary, net):
    decorated, plain, record = recorded(notary, net)
    outputs = plain(X)
    with torch.no_grad():
        net[2].bias[0] = torch.nextafter(net[2].bias[0], torch.tensor(math.inf))
    found = torchnotary.reproduce(record, decorated, (X,), outputs=outputs)
    assert found.outcome == "diverged" and found.first_divergence.module == "2"


def test_json_of_a_reproduction_is_one_plain_document(notary, net):

    _, plain, record = recorded(notary, net)
    call = broken(plain, lambda y: y[:1])
    for found in (
        torchnotary.reproduce(record, plain, (X,)),
        torchnotary.reproduce(record, plain),
        torchnotary.reproduce(record, call, (X,), outputs=plain(X)),
    ):
        document = found.to_json()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert document["outcome"] == found.outcome
        assert bool(document["next"]) is not found.ok


def test_what_cannot_be_called_is_refused(notary, net):
    _, _, record = recorded(notary, net)
    with pytest.raises(torchnotary.NotaryError, match="cannot be called"):
        torchnotary.reproduce(record, "score", (X,))


def test_the_model_that_ran_is_compared_even_where_another_one_is_given(notary):
    recorded, other = torch.nn.Linear(4, 2).eval(), torch.nn.Linear(4, 2).eval()
    x = torch.ones(1, 4)
    notary.record(lambda x: recorded(x), model=recorded)(x)
    found = torchnotary.reproduce(notary.last, lambda x: other(x), (x,), model=recorded)
    assert found.outcome == "diverged" and "weight" in str(found.first_divergence)
