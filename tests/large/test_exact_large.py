"""Tensors of more than 2^31 elements under exact/1: every element is what it is in a small tensor.

Run by `make large`; about 20 GiB of memory. The values lie around the places that 31 and 32 bits
can count to, and at the end.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from torchnotary.exact import exact_scope

COUNT = 2**31 + 4099
# First and last elements, and those around the last that a signed 32-bit integer can count.
PLACES = [0, 1, 2**31 - 1, 2**31, 2**31 + 1, COUNT - 2, COUNT - 1]
VALUES = [0.5, -1.25, 2.0, -0.75, 3.5, 1.0, -2.5]


@pytest.fixture(scope="module")
def sparse() -> torch.Tensor:
    """Zeros, but for VALUES at PLACES."""
    made = torch.zeros(COUNT, dtype=torch.bfloat16)
    made[PLACES] = torch.tensor(VALUES, dtype=torch.bfloat16)
    return made


def exactly(function, *arguments):
    with torch.no_grad(), exact_scope():
        return function(*arguments)


ELEMENTWISE = {
    "gelu": F.gelu,
    "exp": torch.exp,
    "neg": torch.neg,
    "times itself": lambda x: x * x,
    "plus one": lambda x: x + 1,
    "where": lambda x: torch.where(x > 0, x, 0.25),
    "float32 and back": lambda x: x.float().bfloat16(),
    "clamped": lambda x: x.clamp(-1, 1),
    "copied backwards": lambda x: x.flip(0).flip(0),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elements_have_their_values_at_every_place(sparse, name):
    found = exactly(ELEMENTWISE[name], sparse)
    few = exactly(ELEMENTWISE[name], torch.tensor([*VALUES, 0.0], dtype=torch.bfloat16))
    assert found.shape == sparse.shape
    assert torch.equal(found[PLACES], few[:-1])
    found[PLACES] = few[-1]
    assert all(bool((part == few[-1]).all()) for part in found.split(2**27))


def test_reductions_reach_the_last_element(sparse):
    assert float(exactly(torch.sum, sparse)) == sum(VALUES)
    assert float(exactly(torch.amax, sparse)) == 3.5
    assert int(exactly(torch.argmax, sparse)) == 2**31 + 1
    assert int(exactly(torch.argmin, sparse)) == COUNT - 1
    values, places = exactly(torch.max, sparse, 0)
    assert float(values) == 3.5 and int(places) == 2**31 + 1


def test_one_element_of_stride_zero_stands_for_all():
    one = torch.tensor([1.5], dtype=torch.bfloat16).expand(COUNT)
    assert one.stride() == (0,)
    assert float(exactly(torch.amax, one)) == 1.5 and int(exactly(torch.argmax, one)) == 0
    doubled = exactly(torch.add, one, one)
    assert all(bool((part == 3).all()) for part in doubled.split(2**27))


ROWS, COLUMNS = 2**20 + 3, 2048  # 2^31 + 6144 elements


@pytest.fixture(scope="module")
def matrix() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(67, COLUMNS, generator=generator).bfloat16()
    return rows.repeat(ROWS // 67 + 1, 1)[:ROWS]


def assert_rows(found: torch.Tensor, few: torch.Tensor) -> None:
    """Row i of ``found`` is row i mod 67 of ``few``."""
    for first in range(0, ROWS, 67 * 1024):
        part = found[first : first + 67 * 1024]
        assert torch.equal(part, few.repeat(1024, *[1] * (few.dim() - 1))[: len(part)])


NORMS = {
    "softmax": lambda x: x.softmax(-1),
    "layer_norm": lambda x: F.layer_norm(x, (COLUMNS,)),
    "rms_norm": lambda x: F.rms_norm(x, (COLUMNS,)),
    "cumsum": lambda x: x.cumsum(-1),
    "sum": lambda x: x.sum(-1),
    "argmax": lambda x: x.argmax(-1),
    "topk": lambda x: x.topk(3, -1).indices,
    "mean": lambda x: x.mean(-1),
}


@pytest.mark.parametrize("name", NORMS)
def test_rows_are_what_they_are_alone(matrix, name):
    assert_rows(exactly(NORMS[name], matrix), exactly(NORMS[name], matrix[:67]))


def test_a_sum_over_the_first_axis_is_that_of_each_column_alone(matrix):
    found = exactly(torch.sum, matrix, 0)
    for column in (0, 1, 1023, COLUMNS - 1):
        assert torch.equal(found[column], exactly(torch.sum, matrix[:, column]))


def test_linear_with_more_than_2_31_weights(matrix):
    x = torch.randn(3, COLUMNS, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert_rows(exactly(F.linear, x, matrix).T, exactly(F.linear, x, matrix[:67]).T)


def test_linear_of_more_than_2_31_inputs(matrix):
    w = torch.randn(5, COLUMNS, generator=torch.Generator().manual_seed(2)).bfloat16()
    assert_rows(exactly(F.linear, matrix, w), exactly(F.linear, matrix[:67], w))


def test_products_of_more_than_2_31_results():
    generator = torch.Generator().manual_seed(3)
    few = torch.randn(67, 8, generator=generator).bfloat16()
    a = few.repeat(ROWS // 67 + 1, 1)[:ROWS]
    b = torch.randn(8, COLUMNS, generator=generator).bfloat16()
    assert_rows(exactly(torch.matmul, a, b), exactly(torch.matmul, few, b))


def test_embedding_of_the_last_rows(matrix):
    ids = torch.tensor([0, 2**20 - 1, 2**20, ROWS - 1])
    assert torch.equal(exactly(F.embedding, ids, matrix), matrix[ids % 67])
    assert torch.equal(exactly(torch.index_select, matrix, 0, ids), matrix[ids % 67])


def test_moves_keep_every_element(matrix):
    assert_rows(exactly(torch.Tensor.contiguous, matrix.T).T, matrix[:67])
    assert_rows(exactly(torch.cat, [matrix[:67], matrix[67:]]), matrix[:67])


def test_convolution_along_more_than_2_31_places(sparse):
    kernel = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.bfloat16)  # the neighbour to the left
    found = exactly(lambda: F.conv1d(sparse.view(1, 1, -1), kernel, padding=1)).view(-1)
    assert torch.equal(found[1:], sparse[:-1]) and float(found[0]) == 0
