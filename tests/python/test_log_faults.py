"""Samples of `make soak`: kills, faults and power losses, each in a process that forks cheaply."""

from __future__ import annotations

from pathlib import Path

import pytest

import injections
from log_helpers import run


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory) -> str:
    return str(injections.build(tmp_path_factory.mktemp("faults")))


def campaign(call: str, folder: Path, **environment: str) -> list[int]:
    """The numbers that ``call`` returns, called with ``folder`` as its first argument."""
    module, _, _ = call.partition(".")
    source = f"""
        import sys
        from pathlib import Path
        import {module}
        folder = Path(sys.argv[1])
        print({call})
    """
    printed = run(source, folder, **environment).stdout
    return [int(number) for number in printed.strip("()\n").split(",")]


def test_fifty_kills_lose_no_acknowledged_record_and_contradict_no_checkpoint(tmp_path, preloaded):
    # Preloaded, because then no call waits for the disk, which a kill does not take down.
    call = "kills.run(folder, 50, seed=1)"
    (acknowledged,) = campaign(call, tmp_path, LD_PRELOAD=preloaded)
    assert acknowledged > 100


def test_a_fault_at_any_call_site_that_writes_loses_nothing_acknowledged(tmp_path, preloaded):
    call = "injections.run(folder, sample=True)"
    sites, faults = campaign(call, tmp_path, LD_PRELOAD=preloaded)
    assert faults == sites > 50


def test_a_power_loss_while_records_are_appended_loses_nothing_acknowledged(tmp_path, preloaded):
    call = "power_loss.run(folder, step=3001)"
    (losses,) = campaign(call, tmp_path, LD_PRELOAD=preloaded)
    assert losses > 20


def test_no_origin_signs_two_histories_whatever_happens_to_its_folder(tmp_path, preloaded):
    call = "lives.run(folder, count=1, happenings=40, seed=5)"
    (signed,) = campaign(call, tmp_path, LD_PRELOAD=preloaded)
    assert signed > 40
