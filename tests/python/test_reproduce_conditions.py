"""Reproduction takes on the recorded conditions, for every shape of call, and leaves them."""

from __future__ import annotations

import asyncio

import pytest
import torch

import torchnotary
from reproduce_helpers import X, broken, nudge, recorded


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
