"""The benchmarks' statistics are right and their output is valid; how fast anything is, is not
tested."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


class FakeClock:
    """Time that passes only where a contender says so."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200),
    st.floats(0, 1),
)
def test_quantiles_are_those_of_numpy(samples, q):
    from harness import quantile

    assert quantile(sorted(samples), q) == pytest.approx(numpy.quantile(samples, q), abs=1e-5)


def test_a_summary_names_median_and_spread():
    from harness import Summary

    summary = Summary.of([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (summary.min, summary.q1, summary.median, summary.q3, summary.max) == (1, 2, 3, 4, 5)
    assert summary.count == 5


def test_no_samples_have_no_summary():
    from harness import Summary

    with pytest.raises(ValueError, match="at least one sample"):
        Summary.of([])


def test_a_machine_that_slows_down_midway_does_not_move_the_ratio():
    from harness import Summary, alternate

    clock = FakeClock()
    calls = 0

    def contender(cost: int):
        def call() -> None:
            nonlocal calls
            calls += 1
            clock.now += cost * (10 if calls > 30 else 1)

        return call

    pairs = alternate(contender(1000), contender(1500), 40, warmup=0, clock=clock)
    assert Summary.of(pairs.ratios()).median == 1.5
    # The ratio of the fastest ours to the median peer, say, would have been far off.
    assert min(pairs.ours) / sorted(pairs.peer)[20] == 0.15


def test_contenders_alternate_and_neither_is_always_first():
    from harness import alternate

    order: list[str] = []
    alternate(lambda: order.append("A"), lambda: order.append("B"), 2, warmup=0, calls=2)
    assert "".join(order) == "AABB" + "BBAA"


def test_any_number_of_contenders_take_turns_each_prepared_for():
    from harness import take_turns

    order: list[str] = []
    contenders = {name: lambda name=name: order.append(name) for name in "ABC"}
    samples = take_turns(contenders, 2, warmup=0, prepare=lambda name: order.append(name.lower()))
    assert "".join(order) == "aAbBcC" + "cCbBaA"
    assert {name: len(times) for name, times in samples.items()} == {"A": 2, "B": 2, "C": 2}


def test_neither_warm_up_nor_settling_is_in_the_samples():
    from harness import alternate, time_each

    clock = FakeClock()
    costs = iter([500, 500] + [7] * 6)

    def call() -> None:
        clock.now += next(costs)

    def settle() -> None:
        clock.now += 10_000

    pairs = alternate(call, call, 3, warmup=1, settle=settle, clock=clock)
    assert pairs.peer == pairs.ours == [7, 7, 7]

    costs = iter([500, 500] + [7] * 4)
    assert time_each(call, 2, 2, settle=settle, clock=clock) == [7] * 4


def test_a_block_of_calls_is_timed_as_one_sample():
    from harness import alternate

    clock = FakeClock()

    def call() -> None:
        clock.now += 10

    pairs = alternate(call, call, 1, calls=4, clock=clock)
    assert pairs.peer == [40]


def test_garbage_collection_is_as_before_after_a_benchmark_that_raises():
    from harness import quiet_gc

    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with pytest.raises(RuntimeError, match="broken"), quiet_gc():
        assert not gc.isenabled()
        raise RuntimeError("broken")
    assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen


@pytest.mark.parametrize(
    ("median", "target", "at_least", "met", "shown"),
    [
        (1.0, 1.0, None, True, "≤ 1 met"),
        (1.001, 1.0, None, False, "≤ 1 MISSED"),
        (2.0, None, 2.0, True, "≥ 2 met"),
        (1.999, None, 2.0, False, "≥ 2 MISSED"),
        (9.0, None, None, None, ""),
    ],
)
def test_a_missed_target_is_reported_as_missed(median, target, at_least, met, shown):
    from harness import Row, Summary
    from report import closing_line, verdict

    row = Row("a figure", "s", Summary.of([median]), target, at_least=at_least)
    assert row.met is met
    assert row.as_json()["met"] is met
    assert verdict(row) == shown
    assert ("missed: a figure" in closing_line([row])) is (met is False)


def _run(*arguments: str) -> subprocess.CompletedProcess:
    """Run the benchmarks with a key in force that would fail them if they used it."""
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TORCHNOTARY_KEY": "no key"},
    )


@pytest.mark.parametrize("topic", ["empty-call", "hashing", "openings"])
def test_a_quick_run_of_one_topic_writes_its_json(topic, tmp_path):
    from native import LIBRARY

    if topic == "hashing" and not LIBRARY.is_file():
        pytest.skip(f"the benchmarks' C++ part is not built: no file {LIBRARY}")
    done = _run("--quick", "--rounds", "1", "--only", topic, "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    # The scratch folder, keys and logs included, is gone again.
    assert [path.name for path in tmp_path.iterdir()] == [f"{topic}.json"]
    document = json.loads((tmp_path / f"{topic}.json").read_text(), parse_constant=pytest.fail)
    assert document["topic"] == topic and document["quick"] is True
    assert {"cpu", "cores", "capability", "torch", "threads"} <= document["machine"].keys()
    assert document["rows"]
    for row in document["rows"]:
        spread = row["summary"]
        keys = ("min", "q1", "median", "q3", "max")
        assert [spread[key] for key in keys] == sorted(spread[key] for key in keys)
        assert spread["count"] > 0
        if row["at_least"] is not None:
            assert row["met"] == (spread["median"] >= row["at_least"])
        elif row["target"] is not None:
            assert row["met"] == (spread["median"] <= row["target"])
        else:
            assert row["met"] is None
        assert row["figure"] in done.stdout


def test_an_unknown_topic_is_refused_with_the_known_ones(tmp_path):
    done = _run("--only", "nothing", "--results", str(tmp_path))
    assert done.returncode == 2
    assert "empty-call" in done.stderr and "cold-verify" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_cpu_time_of_this_process_is_not_a_neighbours(monkeypatch):
    import report

    # (all seconds, those not idle, those of this process and its children), before and after
    readings = iter([(1000.0, 500.0, 40.0), (1010.0, 508.0, 45.0)])
    monkeypatch.setattr(report, "_cpu_seconds", lambda: next(readings))
    assert report.Neighbours().share() == pytest.approx(0.3)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux says who used the CPUs")
def test_cpu_seconds_are_those_of_the_system():
    import report

    total, busy, own = report._cpu_seconds()
    assert total > busy > own > 0
