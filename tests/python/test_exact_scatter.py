"""Operators that add to elements which indices name, under exact/1 and by the reference."""

import math

import numpy as np
import pytest
import torch

from exact_cases import FLOATS, LAYOUTS, check, numbers, ordinary, special
from exact_reference import scatter as reference
from torchnotary.exact import exact_scope


def indices(below, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(below, shape, generator=generator)


REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sources_are_added_in_ascending_order(dim, layout, dtype):
    x, source = special(6, 7, 5, dtype=dtype, seed=1), special(9, 8, 9, dtype=dtype, seed=2)
    x, source = LAYOUTS[layout](x), LAYOUTS[layout](source)
    shape = [6, 7, 5]
    shape[dim] = 8
    index = indices(x.shape[dim], *shape, seed=3)
    for operator in (torch.scatter_add, lambda *each: each[0].clone().scatter_add_(*each[1:])):
        check(operator, reference.scatter, x, dim, index, source, dtype=dtype)
    lines = indices(x.shape[dim], 11, seed=4)
    shape[dim] = 11
    rows = special(*shape, dtype=dtype, seed=5)
    check(torch.index_add, reference.index_add, x, dim, lines, rows, dtype=dtype)
    check(
        lambda *each: torch.index_add(*each, alpha=0.3),
        lambda *each: reference.index_add(*each, 0.3),
        x,
        dim,
        lines.int(),
        rows,
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_reduction_joins_in_ascending_order(reduction, include_self, dtype):
    x, source = special(7, 9, dtype=dtype, seed=6), special(40, 9, dtype=dtype, seed=7)
    check(
        lambda x, index, source: x.scatter_reduce(
            0, index, source, reduction, include_self=include_self
        ),
        lambda x, index, source: reference.scatter(x, 0, index, source, reduction, include_self),
        x,
        indices(6, 40, 9, seed=8),
        source,
        dtype=dtype,
    )


@pytest.mark.parametrize(("name", "reduction"), [("add", "sum"), ("multiply", "prod")])
def test_scatter_with_a_reduction_is_the_same(name, reduction):
    x, source, index = special(7, 9, seed=6), special(12, 9, seed=7), indices(7, 12, 9, seed=9)
    check(
        lambda *each: torch.scatter(each[0], 0, *each[1:], reduce=name),
        lambda x, index, source: reference.scatter(x, 0, index, source, reduction),
        x,
        index,
        source,
    )
    check(
        lambda x, index: torch.scatter(x, 0, index, 0.3, reduce=name),
        lambda x, index: reference.scatter(
            x, 0, index, np.full(index.shape, 0.3, np.float32), reduction
        ),
        x,
        index,
    )


@pytest.mark.parametrize("count", [4096, 4097, 70000])
@pytest.mark.parametrize("reduction", ["sum", "prod", "mean"])
def test_many_sources_are_joined_in_binary64(reduction, count):
    source = ordinary(count, seed=10, scale=0.01) + (reduction == "prod")
    index = torch.zeros(count, dtype=torch.int64)
    index[:1000:10] = 2
    index = torch.cat([index, torch.zeros(100, dtype=torch.int64)])
    source = torch.cat([source, ordinary(100, seed=11)])
    check(
        lambda *each: each[0].scatter_reduce(0, *each[1:], reduction),
        lambda *each: reference.scatter(each[0], 0, *each[1:], reduction),
        torch.tensor([0.1, 0.2, 0.3]),
        index,
        source,
    )


def test_rows_of_several_threads_are_each_their_own():
    x, source, index = ordinary(300, 90), ordinary(400, 90, seed=17), indices(300, 400, 90)
    for dim in (0, 1):
        check(torch.scatter_add, reference.scatter, x, dim, index % x.shape[dim], source)
        x, source, index = x.t(), source.t(), index.t()


@pytest.mark.parametrize("dtype", FLOATS)
def test_index_put_adds_where_the_indices_lead(dtype):
    x = special(5, 6, 4, dtype=dtype, seed=12)
    mask = indices(2, 5, 6, seed=13).bool()
    for which in (
        (indices(5, 9, seed=14),),
        (indices(5, 9, seed=14), indices(6, 9, seed=15) - 6),
        (indices(5, 3, 1, seed=14), slice(None), indices(4, 3, seed=15)),
        (mask,),
    ):
        shape = x[which].shape
        for values in (special(*shape, dtype=dtype, seed=16), special(shape[-1], dtype=dtype)):
            numpy = tuple(each if isinstance(each, slice) else each.numpy() for each in which)
            theirs = tuple(None if isinstance(each, slice) else each for each in which)
            check(
                lambda x, values, theirs=theirs: torch.ops.aten.index_put(x, theirs, values, True),
                lambda x, values, numpy=numpy: reference.index_put(x, numpy, values),
                x,
                values,
            )
    with exact_scope():
        written = x.clone()
        assert written.index_put_((torch.tensor([0, 0]),), x[:2], accumulate=True) is written
    check(lambda: written, lambda: reference.index_put(x.float().numpy(), ([0, 0],), _two(x)))


def _two(x):
    return x[:2].float().numpy()


def test_no_sources_change_nothing():
    x, none = numbers(3, 4), torch.zeros(0, 4, dtype=torch.int64)
    check(lambda x: x.scatter_add(0, none, torch.zeros(0, 4)), lambda x: x, x)
    check(lambda x: x.index_add(0, none[:, 0], torch.zeros(0, 4)), lambda x: x, x)
    check(lambda x: x.scatter_add(0, none[:, :0], torch.zeros(0, 0)), lambda x: x, x[:0, :0])
    scalar = torch.tensor(0.5)
    check(
        lambda x: x.index_add(0, torch.tensor([0, 0]), torch.tensor([0.1, math.pi])),
        lambda x: reference.index_add(x[None], 0, [0, 0], np.float32([0.1, math.pi]))[0],
        scalar,
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.scatter_add(0, torch.tensor([[3]]), x),
        lambda x: x.scatter_add(0, torch.tensor([[-1]]), x),
        lambda x: x.scatter_add(0, torch.zeros(1, 9, dtype=torch.int64), x),
        lambda x: x.scatter_add(0, torch.zeros(1, dtype=torch.int64), x),
        lambda x: x.scatter_add(0, torch.tensor([[0]]), x.bfloat16()),
        lambda x: x.scatter_add(0, torch.tensor([[0.0]]), x),
        lambda x: x.index_add(0, torch.tensor([3]), x[:1]),
        lambda x: x.index_add(0, torch.tensor([0]), x),
        lambda x: x.index_put((torch.tensor([3]),), x[:1], accumulate=True),
        lambda x: x.scatter_reduce(0, torch.tensor([[0]]), x, "median"),
    ],
)
def test_what_does_not_fit_is_raised_for_as_torch_does(function):
    x = torch.ones(3, 4)
    with pytest.raises((RuntimeError, IndexError)):
        function(x)
    with exact_scope(), pytest.raises((RuntimeError, IndexError)):
        function(x)
