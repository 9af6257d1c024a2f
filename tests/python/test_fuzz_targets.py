"""Every target of `make fuzz-python` has a seed, accepts it, and refuses it damaged."""

from __future__ import annotations

import sys

import pytest

from documents import ROOT
from torchnotary import NotaryError


@pytest.fixture(scope="module")
def seeds():
    """Seeds by target, and the targets."""
    sys.path.insert(0, str(ROOT / "tests" / "fuzz" / "python"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TORCHNOTARY_HOME", "set by the modules that follow")
        import seeds
        import targets

        found: dict[str, list[bytes]] = {}
        for name, data in list(seeds.seeds()):
            found.setdefault(name, []).append(data)
    sys.path.pop(0)
    return found, targets.TARGETS


def test_every_target_has_a_seed_and_accepts_it(seeds):
    found, targets = seeds
    assert found.keys() == targets.keys()
    for name, made in found.items():
        for data in made:
            assert targets[name](data) == data, name


def test_a_seed_that_is_cut_short_or_goes_on_is_refused(seeds):
    found, targets = seeds
    for name, made in found.items():
        for data in (made[0][:-1], made[0] + b"\x00"):
            try:
                accepted = targets[name](data)
            except NotaryError:
                continue
            assert accepted == data and name == "policy", name  # of which no byte need be the last
