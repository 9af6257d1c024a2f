"""Running records again: bitwise, within rounding, diverged and why, or not comparable and why."""

from __future__ import annotations

import copy
import math

import numpy
import pytest
import torch

import torchnotary
from torchnotary.errors import VerificationFailed
from torchnotary.leaves import flatten_output
from torchnotary.replay.tolerance import ROUNDINGS, distances, ulp_distance
from torchnotary.statement import container


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)
    ).eval()


@pytest.fixture
def full(tmp_path):
    """A notary that keeps tensors."""
    notary = torchnotary.Notary(tmp_path / "full-log", evidence="full")
    yield notary
    notary.close()


X = torch.linspace(-1, 1, 40).reshape(5, 8)


def recorded(notary, net, x=X):
    """A recorded function of the model, the same function unrecorded, and the record."""

    def score(x, scale=2.0):
        with torch.no_grad():
            return {"logits": net(x) * scale}

    decorated = notary.record(score)
    decorated(x)
    return decorated, score, notary.last


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


# outputs


def broken(function, change):
    """The recorded function with its result changed."""

    def call(x, scale=2.0):
        return {"logits": change(function(x, scale)["logits"])}

    return call


def nudge(rows):
    def change(logits):
        logits = logits.clone()
        logits[rows, 1] = torch.nextafter(logits[rows, 1], torch.tensor(math.inf))
        return logits

    return change


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


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64]
)
def test_the_bound_is_some_roundings_of_the_largest_element(dtype):
    real = torch.float32 if dtype is torch.complex64 else dtype
    eps = torch.finfo(real).eps
    base = torch.tensor([1.0, -4.0], dtype=real)
    for factor, within in ((ROUNDINGS, True), (ROUNDINGS * 2, False)):
        moved = base + torch.tensor([factor * eps * 4, 0], dtype=real)
        (distance,) = distances(
            flatten_output(base.to(dtype), keep=True), flatten_output(moved.to(dtype), keep=True)
        )
        assert distance.within is within, (dtype, factor, distance)


@pytest.mark.parametrize(
    ("recorded_value", "found_value"),
    [
        (torch.tensor([1.0, math.nan]), torch.tensor([math.nan, 1.0])),
        (torch.tensor([math.inf]), torch.tensor([-math.inf])),
        (torch.tensor([math.inf]), torch.tensor([1.0])),
        (torch.tensor([1.0]), torch.tensor([math.inf])),
        (torch.tensor([3]), torch.tensor([4])),
        (torch.tensor([1.0]), torch.tensor([1.0, 1.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([True]), torch.tensor([False])),
        (1.0, 1.0000000001),
        ("yes", "no"),
        ([torch.ones(1)], [torch.ones(1), torch.ones(1)]),
    ],
)
def test_what_is_not_rounding_is_never_within_tolerance(recorded_value, found_value):
    measured = distances(
        flatten_output(recorded_value, keep=True), flatten_output(found_value, keep=True)
    )
    assert measured and not all(d.within for d in measured)


def test_nans_and_infinities_in_their_places_do_not_hide_what_else_differs():
    base = torch.tensor([math.nan, math.inf, -math.inf, 1.0])
    near, far = base.clone(), base.clone()
    near[3], far[3] = 1.0000001, 2.0
    for moved, within in ((near, True), (far, False)):
        (distance,) = distances(flatten_output(base, keep=True), flatten_output(moved, keep=True))
        assert distance.within is within


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32, numpy.float64])
def test_ulp_distance_counts_representable_values(dtype):
    one = numpy.array([1.0, -1.0, 0.0], dtype=dtype)
    moved = one.copy()
    for _ in range(5):
        moved = numpy.nextafter(moved, dtype(9), dtype=dtype)
    a, b = torch.from_numpy(one), torch.from_numpy(moved)
    assert ulp_distance(a, b) == ulp_distance(b, a) == 5
    tiny = numpy.nextafter(dtype(0), dtype(1), dtype=dtype)
    across = ulp_distance(torch.tensor([tiny]), torch.tensor([-tiny]))
    assert across == 2
    assert ulp_distance(torch.tensor([dtype(0)]), torch.tensor([-dtype(0)])) == 0


def test_ulp_distance_across_the_whole_range_does_not_overflow():
    largest = torch.tensor([torch.finfo(torch.float64).max], dtype=torch.float64)
    assert ulp_distance(largest, -largest) == 2 * int(largest.view(torch.int64))


# conditions


def test_threads_and_random_state_are_the_recorded_ones_and_restored(notary, tmp_path):
    seen = []

    @notary.record
    def draw(x):
        seen.append(torch.get_num_threads())
        return x + torch.rand(3)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    draw(torch.zeros(3))
    torch.set_num_threads(2)
    try:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        found = torchnotary.reproduce(notary.last, draw, (torch.zeros(3),))
        assert found.outcome == "bitwise", str(found)
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)


def test_conditions_are_restored_when_the_call_raises(notary):
    fail = []

    @notary.record
    def run(x):
        torch.rand(1)
        if fail:
            raise RuntimeError("second time")
        return x

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(torch.zeros(1))
    torch.set_num_threads(2)
    fail.append(True)
    before = torch.get_rng_state()
    try:
        found = torchnotary.reproduce(notary.last, run, (torch.zeros(1),))
        assert found.outcome == "not comparable"
        assert "builtins.RuntimeError: second time" in found.cause
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)


def test_the_deterministic_profile_is_in_force_again_and_left_again(tmp_path):
    notary = torchnotary.Notary(tmp_path / "log", profile="deterministic")
    seen = []

    @notary.record
    def run(x):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return x * 2

    run(torch.ones(2))
    found = torchnotary.reproduce(notary.last, run, (torch.ones(2),))
    assert found.outcome == "bitwise", str(found)
    assert not found.settings, found.settings
    assert seen == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()
    notary.close()


def test_settings_that_are_not_as_recorded_are_named_where_the_outputs_differ(notary, net):
    _, plain, record = recorded(notary, net)
    net.train()
    torch.set_flush_denormal(True)
    try:
        found = torchnotary.reproduce(record, broken(plain, nudge([0])), (X,), model=net)
    finally:
        torch.set_flush_denormal(False)
        net.eval()
    names = {change.name for change in found.settings}
    assert "flush_denormal" in names
    assert "Settings that differ" in str(found) or "Only setting that differs" in str(found)


def test_a_model_left_in_training_mode_is_named(notary, net):
    decorated, _, record = recorded(notary, net)
    net.train()
    found = torchnotary.reproduce(record, decorated, (X,))
    assert [str(change) for change in found.settings] == ["training off → on"]


# shapes of calls


def test_a_failed_call_fails_again_in_the_same_way(notary):
    kinds = [ValueError]

    @notary.record
    def fail(x):
        if kinds[0]:
            raise kinds[0]("always")

    with pytest.raises(ValueError, match="always"):
        fail(torch.ones(1))
    record = notary.last
    assert torchnotary.reproduce(record, fail, (torch.ones(1),)).outcome == "bitwise"
    for other in (TypeError, None):
        kinds[0] = other
        found = torchnotary.reproduce(record, fail, (torch.ones(1),))
        assert found.outcome == "not comparable"
        assert "raised builtins.ValueError" in found.cause


def test_generators_coroutines_and_methods_are_run_as_what_they_are(notary):
    class Service:
        def __init__(self):
            self.layer = torch.nn.Linear(2, 2)

        @notary.record
        def method(self, x):
            return self.layer(x).detach()

    @notary.record
    def items(n):
        yield from range(n)
        return "end"

    @notary.record
    async def later(x):
        return x + 1

    @notary.record
    async def later_items(n):
        for i in range(n):
            yield i

    service = Service()
    service.method(torch.ones(1, 2))
    found = torchnotary.reproduce(notary.last, service.method, (torch.ones(1, 2),))
    assert (found.outcome, found.model) == ("bitwise", "weights and structure as recorded")

    list(items(3))
    assert torchnotary.reproduce(notary.last, items, (3,)).outcome == "bitwise"
    started = items(5)
    next(started), next(started)
    started.close()
    assert torchnotary.reproduce(notary.last, items, (5,)).outcome == "bitwise"

    import asyncio

    asyncio.run(later(torch.ones(1)))
    record = notary.last
    assert torchnotary.reproduce(record, later, (torch.ones(1),)).outcome == "bitwise"

    async def inside_a_loop():
        return torchnotary.reproduce(record, later, (torch.ones(1),))

    assert asyncio.run(inside_a_loop()).outcome == "bitwise"

    async def consume():
        return [item async for item in later_items(3)]

    asyncio.run(consume())
    assert torchnotary.reproduce(notary.last, later_items, (3,)).outcome == "bitwise"


def test_every_kind_of_parameter_can_be_given_by_name(full):
    @full.record
    def call(first, /, second, *args, third=3, **rest):
        return [first, second, *args, third, *rest.values()]

    for arguments, keywords in (
        ((1, 2), {}),
        ((1, 2, 3, 4), {"third": 5, "extra": 6}),
        ((1,), {"second": 2}),
    ):
        call(*arguments, **keywords)
        found = torchnotary.reproduce(full.last, call)
        assert found.outcome == "bitwise", (arguments, keywords, str(found))


def test_modules_among_the_arguments_are_not_part_of_the_inputs(full, net):
    @full.record
    def apply(model, x):
        with torch.no_grad():
            return model(x)

    apply(net, X)
    assert torchnotary.reproduce(full.last, apply, (net, X)).outcome == "bitwise"
    found = torchnotary.reproduce(full.last, apply)
    assert found.outcome == "not comparable" and "modules" in str(found)


def test_a_leaf_that_no_record_binds_is_not_comparable(notary):
    @notary.record
    def describe(thing, x):
        return x

    describe(object(), torch.ones(1))
    found = torchnotary.reproduce(notary.last, describe, (object(), torch.ones(1)))
    assert found.outcome == "not comparable" and "no record binds" in found.cause


def test_json_of_a_reproduction_is_one_plain_document(notary, net):
    import json

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
