"""Random states a call drew from are noticed, bound, and restored by a reproduction."""

from __future__ import annotations

import hashlib
import random
import struct

import numpy as np
import pytest
import torch

import torchnotary
from torchnotary import _libtorch, random_states

DRAWS = {
    "torch": lambda: torch.rand(2),
    "torch, normal, an odd number": lambda: torch.randn(1, dtype=torch.float64),
    "python": lambda: random.random(),
    "python, gauss": lambda: random.gauss(0, 1),
    "numpy": lambda: np.random.rand(2),
    "numpy, an odd number of normals": lambda: np.random.randn(),
}


@pytest.fixture(autouse=True, params=["_torch", "python"])
def noticing(request, monkeypatch):
    """What notices torch's draws: ``_torch``, and Python where there is none."""
    if request.param == "python":
        monkeypatch.setattr(_libtorch, "available", lambda: None)


def rng(record):
    return record.predicate["execution"]["rng"]


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_call_that_draws_binds_the_state_before_it_and_reproduces(notary, draw, request):
    library = request.node.callspec.id.split("-")[-1].split(",")[0]
    recorded = notary.record(lambda: draw())
    for _ in range(3):  # the second normal of a pair leaves the generator itself alone
        recorded()
        record = notary.last
        found = rng(record)
        assert [name for name, digest in found.items() if digest] == [library]
        assert found[library] == hashlib.sha256(record.random_states[library]).hexdigest()
        before = random_states.random_states()
        assert torchnotary.reproduce(record, recorded, ()).outcome == "bitwise"
        assert random_states.random_states() == before


def test_a_call_that_draws_nothing_binds_no_state(notary):
    random.random(), np.random.rand(), torch.rand(1)  # before the call: not its own
    notary.record(lambda: torch.ones(2))()
    assert rng(notary.last) == {"cuda": None, "numpy": None, "python": None, "torch": None}
    assert notary.last.random_states == {}


def test_a_state_kept_is_the_librarys_own(notary):
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    words, ours = random.getstate()[1], np.random.get_state()
    state = torch.get_rng_state().numpy().tobytes()
    notary.record(lambda: (random.random(), np.random.rand(), torch.rand(1)))()
    kept = notary.last.random_states
    assert kept["torch"] == state
    assert kept["python"] == struct.pack("<625I", *words) + bytes(9)
    assert kept["numpy"] == struct.pack("<624II", *ours[1].tolist(), ours[2]) + bytes(9)


def test_a_state_set_to_another_seed_is_noticed_in_every_library():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(10)
        before = random_states.random_states()
        seed(11)
        assert len(random_states.drawn(before, random_states.random_states())) == 1


def test_states_that_stand_still_are_not_read_again():
    first, second = random_states.random_states(), random_states.random_states()
    assert first[2] is second[2] and first[3] is second[3]


def test_bytes_that_are_no_state_are_refused_and_leave_all_as_it_was():
    before = random_states.random_states()
    for name, state in (("torch", b"no"), ("python", b"no"), ("numpy", b""), ("dice", b"6")):
        with pytest.raises((ValueError, RuntimeError)), random_states.in_force({name: state}):
            pass
    assert random_states.random_states() == before


def test_another_bit_generator_in_numpy_random_is_not_taken_for_the_usual_one():
    usual = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        assert random_states.random_states()[3] is None
    finally:
        np.random.set_bit_generator(usual)


def test_calls_of_a_group_that_draw_from_different_libraries_reproduce(notary):
    recorded = notary.record(lambda name: DRAWS[name]())
    names = ("torch", "numpy", "torch", "numpy", "python", "torch")
    with notary.group():
        for number, name in enumerate(names):
            recorded(name)
            if number == 2:
                np.random.rand()  # outside of any call
    found = torchnotary.reproduce(notary.last, recorded, [(name,) for name in names])
    assert found.outcome == "bitwise", str(found)
