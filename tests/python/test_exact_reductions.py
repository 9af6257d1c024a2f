"""Sums, what is made of them, and order, under exact/1 and by the reference."""

import math

import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, LAYOUTS, check, numbers, ordinary, special
from exact_reference import order, sums
from exact_reference.arithmetic import widened
from exact_reference.sums import kept_axes
from torchnotary.errors import NotExact

AXES = {"last": [-1], "first": [0], "middle": [1], "two": [0, 2], "all": [0, 1, 2]}

SUMS = {
    "sum": (torch.sum, sums.sum),
    "nansum": (torch.nansum, sums.nansum),
    "mean": (torch.mean, sums.mean),
    "var": (torch.var, sums.var),
    "population var": (
        lambda x, dims: x.var(dims, correction=0),
        lambda x, dims: sums.var(x, dims, 0),
    ),
    "var of 2.5": (
        lambda x, dims: x.var(dims, correction=2.5),
        lambda x, dims: sums.var(x, dims, 2.5),
    ),
    "std": (torch.std, sums.std),
    "var_mean": (torch.var_mean, lambda x, dims: (sums.var(x, dims), sums.mean(x, dims))),
    "norm": (
        lambda x, dims: torch.linalg.vector_norm(x, 2, dims),
        lambda x, dims: sums.norm(x, 2, dims),
    ),
    "vector norm of 1": (
        lambda x, dims: torch.linalg.vector_norm(x, 1, dims),
        lambda x, dims: sums.norm(x, 1, dims),
    ),
    "vector norm of infinity": (
        lambda x, dims: torch.linalg.vector_norm(x, math.inf, dims),
        lambda x, dims: sums.norm(x, math.inf, dims),
    ),
    "amax": (torch.amax, sums.amax),
    "amin": (torch.amin, sums.amin),
    "logsumexp": (torch.logsumexp, sums.logsumexp),
}
OF_ONE_AXIS = {
    "softmax": (torch.softmax, sums.softmax),
    "log_softmax": (torch.log_softmax, sums.log_softmax),
    "cumsum": (torch.cumsum, sums.cumsum),
    "cumprod": (torch.cumprod, sums.cumprod),
    "median": (lambda x, dim: tuple(x.median(dim)), order.median),
    "nanmedian": (lambda x, dim: tuple(x.nanmedian(dim)), order.nanmedian),
    "kthvalue": (
        lambda x, dim: tuple(x.kthvalue(2, dim)),
        lambda x, dim: order.kthvalue(x, 2, dim),
    ),
    "aminmax": (
        lambda x, dim: tuple(x.aminmax(dim=dim)),
        lambda x, dim: (sums.amin(x, [dim]), sums.amax(x, [dim])),
    ),
    "prod": (torch.prod, lambda x, dim: sums.prod(x, [dim])),
    "normalize": (lambda x, dim: F.normalize(x, dim=dim), sums.normalize),
    "max": (lambda x, dim: tuple(x.max(dim)), order.greatest),
    "min": (lambda x, dim: tuple(x.min(dim)), order.least),
    "argmax": (torch.argmax, lambda x, dim: order.greatest(x, dim)[1]),
    "argmin": (torch.argmin, lambda x, dim: order.least(x, dim)[1]),
    "sort": (lambda x, dim: tuple(x.sort(dim)), order.sort),
    "falling sort": (
        lambda x, dim: tuple(x.sort(dim, descending=True)),
        lambda x, dim: order.sort(x, dim, True),
    ),
    "argsort": (torch.argsort, lambda x, dim: order.sort(x, dim)[1]),
    "topk": (lambda x, dim: tuple(x.topk(3, dim)), lambda x, dim: order.topk(x, 3, dim)),
    "least topk": (
        lambda x, dim: tuple(x.topk(2, dim, largest=False)),
        lambda x, dim: order.topk(x, 2, dim, False),
    ),
}
KEEP_NANS = {"max", "min", "sort", "falling sort", "topk", "least topk"}
KEEP_NANS |= {"median", "nanmedian", "kthvalue"}
KINDS = {
    "ordinary": ordinary,
    "special": lambda *shape, **options: special(*shape, share=0.05, **options),
    "finite": lambda *shape, **options: numbers(*shape, **options),
}


def on(pair, axes):
    operator, reference = pair
    return lambda x: operator(x, axes), lambda x: reference(x, axes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", SUMS)
def test_sums_over_axes(name, axes, layout):
    for kind in KINDS.values():
        check(*on(SUMS[name], AXES[axes]), LAYOUTS[layout](kind(5, 6, 37, seed=1)))


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 4096, 4097])
@pytest.mark.parametrize("name", SUMS)
def test_sums_of_every_length(name, count):
    for shape, axes in [((2, count), [1]), ((count, 3), [0])]:
        check(*on(SUMS[name], axes), ordinary(*shape, seed=2))


@pytest.mark.parametrize("name", [each for each in SUMS if each not in ("amax", "amin")])
def test_sums_of_nothing(name):
    if name == "vector norm of infinity":
        pytest.skip("a maximum of nothing")
    check(*on(SUMS[name], [1]), ordinary(3, 0, 2))
    check(*on(SUMS[name], [1]), ordinary(0, 3, 2))


@pytest.mark.parametrize("dtype", FLOATS[1:])
@pytest.mark.parametrize("name", SUMS)
def test_sums_of_narrow_elements_are_rounded_once(name, dtype):
    check(*on(SUMS[name], [0, 2]), ordinary(5, 6, 37, dtype=dtype, seed=3), dtype=dtype)
    check(*on(SUMS[name], [1]), special(5, 37, dtype=dtype, seed=4, share=0.05), dtype=dtype)


def test_sums_of_other_types():
    check(lambda x: x.sum(dtype=torch.float32), sums.sum, ordinary(99, dtype=torch.bfloat16))
    check(
        lambda x: x.mean(dtype=torch.float32),
        lambda x: sums.mean(widened(x)),
        torch.tensor([2**24 + 1, 5, -7]),
    )
    check(torch.sum, sums.sum, special(7, 9, share=0.02))
    check(
        lambda x: x.mean(1, keepdim=True),
        lambda x: kept_axes(sums.mean(x, [1]), x, [1]),
        ordinary(3, 5, 2),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("name", OF_ONE_AXIS)
def test_operators_along_an_axis(name, dim, layout):
    for kind in KINDS.values():
        x = LAYOUTS[layout](kind(5, 6, 37, seed=5))
        if name in KEEP_NANS:
            x = torch.where(x.isnan(), torch.tensor(math.nan), x)
        check(*on(OF_ONE_AXIS[name], dim), x)


@pytest.mark.parametrize("dtype", FLOATS[1:])
@pytest.mark.parametrize("name", OF_ONE_AXIS)
def test_operators_along_an_axis_of_narrow_elements(name, dtype):
    if name == "normalize":
        pytest.skip("of several operators, between which results are stored")
    check(*on(OF_ONE_AXIS[name], 1), ordinary(4, 50, 2, dtype=dtype, seed=6))


@pytest.mark.parametrize("count", [3, 16, 17, 4096, 4097])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cumsum", "prod", "argmax"])
def test_rows_of_every_length(name, count):
    check(*on(OF_ONE_AXIS[name], 1), ordinary(2, count, seed=7, scale=0.5))


def test_rows_of_infinities():
    x = torch.tensor([[-math.inf, -math.inf], [0, math.inf], [0, -math.inf]])
    for name in ("softmax", "log_softmax"):
        check(*on(OF_ONE_AXIS[name], 1), x)
    check(*on(SUMS["logsumexp"], [1]), x)


@pytest.mark.parametrize(
    "name", ["max", "min", "sort", "falling sort", "topk", "argmin", "median", "kthvalue"]
)
def test_equal_elements_keep_their_order(name):
    x = torch.randint(0, 4, (5, 60), generator=torch.Generator().manual_seed(0))
    check(*on(OF_ONE_AXIS[name], 1), x)
    check(*on(OF_ONE_AXIS[name], 1), torch.where(x == 3, -0.0, torch.where(x == 2, math.nan, x)))


def test_the_extreme_of_nothing_is_refused():
    for operator in (torch.amax, torch.argmax, torch.max):
        with pytest.raises((NotExact, IndexError, RuntimeError)):
            check(operator, None, ordinary(0))


def test_all_elements_together():
    x = special(7, 9, seed=8, share=0.02)
    check(torch.argmax, lambda x: order.greatest(x.ravel(), 0)[1], x)
    check(torch.max, sums.amax, x)
    check(torch.min, sums.amin, numbers(7, 9))
    check(torch.prod, sums.prod, x)
    check(torch.norm, sums.norm, x)
    check(lambda x: tuple(x.aminmax()), lambda x: (sums.amin(x), sums.amax(x)), x)
    for each in (x, numbers(7, 9), ordinary(40), ordinary()):
        check(torch.median, lambda x: order.median(x.ravel(), 0)[0], each)
        check(torch.nanmedian, lambda x: order.nanmedian(x.ravel(), 0)[0], each)
    check(torch.median, lambda x: math.nan, x[:0])


NORMS = {
    "layer": (
        lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b),
        lambda x, w, b: sums.layer_norm(x, 1, w, b),
    ),
    "rms": (lambda x, w, b: F.rms_norm(x, x.shape[-1:], w), lambda x, w, b: sums.rms_norm(x, 1, w)),
    "rms of 1e-6": (
        lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, 1e-6),
        lambda x, w, b: sums.rms_norm(x, 1, w, 1e-6),
    ),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_w", [True, False])
@pytest.mark.parametrize("with_b", [True, False])
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_rows(name, with_w, with_b, dtype):
    for count in (1, 16, 77, 4097):
        w = ordinary(count, dtype=dtype, seed=1) if with_w else None
        b = ordinary(count, dtype=dtype, seed=2) if with_b else None
        check(*NORMS[name], special(3, count, dtype=dtype, share=0.01, seed=3), w, b)
    for layout in LAYOUTS.values():
        w = ordinary(37, dtype=dtype, seed=1) if with_w else None
        b = ordinary(37, dtype=dtype, seed=2) if with_b else None
        check(*NORMS[name], layout(ordinary(4, 5, 37, dtype=dtype, seed=3)), w, b)
    check(*NORMS[name], ordinary(0, 8, dtype=dtype), None, None)
    check(
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: sums.layer_norm(x, 2),
        ordinary(3, 5, 7, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_w", [True, False])
@pytest.mark.parametrize("with_b", [True, False])
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 9), (2, 6, 5, 7), (0, 6, 4), (1, 6, 90, 30)])
def test_norms_of_channels(shape, with_w, with_b, dtype):
    x = special(*shape, dtype=dtype, share=0.02, seed=4)
    w = ordinary(6, dtype=dtype, seed=5) if with_w else None
    b = ordinary(6, dtype=dtype, seed=6) if with_b else None
    mean, variance = ordinary(6, dtype=dtype, seed=7), ordinary(6, dtype=dtype, seed=8).abs()
    check(lambda *each: F.batch_norm(*each), sums.batch_norm, x, mean, variance, w, b)
    check(
        lambda x, w, b: F.group_norm(x, 3, w, b),
        lambda x, w, b: sums.group_norm(x, 3, w, b),
        x,
        w,
        b,
    )
    if len(shape) > 2 and shape[0]:
        check(
            lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
            lambda x, w, b: sums.group_norm(x, 6, w, b),
            x,
            w,
            b,
        )
    if len(shape) == 4:
        check(
            lambda *each: F.batch_norm(*each),
            sums.batch_norm,
            x.to(memory_format=torch.channels_last),
            mean,
            variance,
            w,
            b,
        )
