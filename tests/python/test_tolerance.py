"""How far results lie apart: what counts as rounding, and what never does."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

from torchnotary.leaves import flatten_output
from torchnotary.replay.tolerance import ROUNDINGS, distances, ulp_distance


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
