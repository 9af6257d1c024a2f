"""Pooling, resampling and bags of rows, under exact/1 and by the reference."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, check, ordinary, special
from exact_reference import windows
from exact_reference.arithmetic import F32

POOLS = [  # kernel, stride, padding, dilation, ceil_mode
    ((3, 2), (2, 3), (1, 1), (2, 1), False),
    ((3, 2), (2, 3), (1, 1), (2, 1), True),
    ((2, 2), (2, 2), (0, 0), (1, 1), True),
    ((1, 5), (1, 1), (0, 2), (1, 1), False),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("pool", POOLS)
def test_pooling(pool, dtype):
    kernel, stride, padding, dilation, ceil_mode = pool
    for x in (
        special(2, 3, 9, 8, share=0.3, dtype=dtype),
        ordinary(1, 4, 9, 9, dtype=dtype),
        ordinary(2, 3, 8, 9, dtype=dtype).transpose(2, 3),
    ):
        check(
            lambda x: F.max_pool2d(x, *pool, return_indices=True),
            lambda x: windows.max_pool(x, *pool),
            x,
        )
        check(
            lambda x: F.max_pool2d(x, *pool),
            lambda x: windows.max_pool(x, *pool)[0],
            x.contiguous(memory_format=torch.channels_last),
        )
        for options in ((True, None), (False, None), (True, 3)):
            check(
                lambda x, o=options: F.avg_pool2d(x, kernel, stride, padding, ceil_mode, *o),
                lambda x, o=options: windows.avg_pool(x, kernel, stride, padding, ceil_mode, *o),
                x,
            )


@pytest.mark.parametrize("dtype", FLOATS)
def test_pooling_along_one_axis_and_to_a_size(dtype):
    x, image = ordinary(2, 3, 20, dtype=dtype), ordinary(2, 3, 9, 7, dtype=dtype)
    check(
        lambda x: F.max_pool1d(x, 3, 2, 1), lambda x: windows.max_pool(x, [3], [2], [1], [1])[0], x
    )
    check(lambda x: F.avg_pool1d(x, 3, 2, 1), lambda x: windows.avg_pool(x, [3], [2], [1]), x)
    check(lambda x: F.adaptive_avg_pool1d(x, 6), lambda x: windows.adaptive_avg_pool(x, [6]), x)
    for size in ((1, 1), (4, 5), (12, 3)):
        check(
            lambda x, s=size: F.adaptive_avg_pool2d(x, s),
            lambda x, s=size: windows.adaptive_avg_pool(x, s),
            image,
        )
        check(
            lambda x, s=size: F.adaptive_max_pool2d(x, s, return_indices=True),
            lambda x, s=size: windows.adaptive_max_pool(x, s),
            image,
        )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("outputs", [(1, 1), (3, 11), (10, 17), (5, 7)])
def test_resampling_to_a_size(outputs, dtype):
    x = special(2, 3, 5, 7, share=0.1, dtype=dtype)
    check(lambda x: F.interpolate(x, outputs), lambda x: windows.nearest(x, outputs), x)
    check(
        lambda x: F.interpolate(x, outputs, mode="nearest-exact"),
        lambda x: windows.nearest(x, outputs, exact=True),
        x,
    )
    for corners in (False, True):
        check(
            lambda x, c=corners: F.interpolate(x, outputs, mode="bilinear", align_corners=c),
            lambda x, c=corners: windows.bilinear(x, outputs, None, c),
            x,
        )
    check(
        lambda x: F.interpolate(x, outputs[1], mode="linear"),
        lambda x: windows.bilinear(x, outputs[1:]),
        x[:, 0],
    )


@pytest.mark.parametrize("factor", [0.5, 1.7, 2.0, 3.3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear"])
def test_resampling_by_a_factor(mode, factor):
    x = ordinary(1, 2, 11, 13)
    outputs, factors = [math.floor(size * factor) for size in (11, 13)], [factor, factor]

    def reference(x, factors):
        if mode == "bilinear":
            return windows.bilinear(x, outputs, factors)
        return windows.nearest(x, outputs, factors, mode == "nearest-exact")

    check(
        lambda x: F.interpolate(x, scale_factor=factor, mode=mode),
        lambda x: reference(x, factors),
        x,
    )
    check(
        lambda x: F.interpolate(x, scale_factor=factor, mode=mode, recompute_scale_factor=True),
        lambda x: reference(x, None),
        x,
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode, dtype):
    weight = special(30, 5, share=0.02, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    indices, offsets = torch.randint(0, 30, (90,), generator=generator), [0, 1, 1, 20, 40]
    bags = [bag.tolist() for bag in torch.tensor_split(indices, offsets[1:])]
    for padding in (None, 8):
        check(
            lambda w, p=padding: F.embedding_bag(
                indices, w, torch.tensor(offsets), mode=mode, padding_idx=p
            ),
            lambda w, p=padding: windows.embedding_bag(w, bags, mode, padding=p),
            weight,
        )
    if mode == "sum":
        factors = ordinary(90, dtype=dtype)
        split = [bag.float().tolist() for bag in torch.tensor_split(factors, offsets[1:])]
        check(
            lambda w: F.embedding_bag(
                indices, w, torch.tensor(offsets), mode="sum", per_sample_weights=factors
            ),
            lambda w: windows.embedding_bag(w, bags, "sum", split),
            weight,
        )
    nothing = torch.empty(0, dtype=torch.int64)
    check(
        lambda w: F.embedding_bag(nothing, w, torch.tensor([0, 0]), mode=mode),
        lambda w: np.zeros((2, 5), F32),
        weight,
    )
