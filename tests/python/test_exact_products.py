"""Products of matrices and convolutions, under exact/1 and by the reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, LAYOUTS, check, ordinary, special
from exact_reference import products
from exact_reference.arithmetic import F32
from torchnotary.errors import NotExact

LENGTHS = [0, 1, 255, 256, 257, 600]
KINDS = {
    "ordinary": ordinary,
    "sprinkled": lambda *shape, **options: special(*shape, share=0.004, **options),
    "denormal": lambda *shape, **options: ordinary(*shape, scale=1e-21, **options),
}


def product(a, b):
    return products.matmul(a, b)


PRODUCTS = {
    "linear": (F.linear, products.linear, [(5, "k"), (3, "k")]),
    "linear with bias": (F.linear, products.linear, [(2, 2, "k"), (3, "k"), (3,)]),
    "linear of a vector": (F.linear, products.linear, [("k",), (3, "k"), (3,)]),
    "mm": (torch.mm, product, [(5, "k"), ("k", 3)]),
    "bmm": (torch.bmm, product, [(2, 5, "k"), (2, "k", 3)]),
    "matmul": (torch.matmul, product, [(2, 1, 5, "k"), (3, "k", 2)]),
    "mv": (torch.mv, products.dot, [(5, "k"), ("k",)]),
    "dot": (torch.dot, products.dot, [("k",), ("k",)]),
    "addmm": (torch.addmm, products.addmm, [(3,), (5, "k"), ("k", 3)]),
    "addmm of numbers": (
        lambda *each: torch.addmm(*each, beta=0.3, alpha=0.7),
        lambda *each: products.addmm(*each, 0.3, 0.7),
        [(5, 3), (5, "k"), ("k", 3)],
    ),
    "addmm without c": (
        lambda *each: torch.addmm(*each, beta=0, alpha=2),
        lambda *each: products.addmm(*each, 0, 2),
        [(5, 3), (5, "k"), ("k", 3)],
    ),
    "baddbmm": (
        lambda *each: torch.baddbmm(*each, alpha=0.125),
        lambda *each: products.addmm(*each, 1, 0.125),
        [(2, 5, 3), (2, 5, "k"), (2, "k", 3)],
    ),
    "addmv": (
        lambda *each: torch.addmv(*each, beta=0.5),
        lambda c, a, b: products.addmm(c[:, None], a, b[:, None], 0.5)[:, 0],
        [(5,), (5, "k"), ("k",)],
    ),
    "einsum": (
        lambda a, b: torch.einsum("bhqk,bdk->bqhd", a, b),
        lambda a, b: np.swapaxes(products.matmul(a, np.swapaxes(b, 1, 2)[:, None]), 1, 2),
        [(2, 3, 2, "k"), (2, 4, "k")],
    ),
    "einsum of two contracted indices": (  # B before a
        lambda a, b: torch.einsum("raB,Bas->rs", a, b),
        lambda a, b: (
            products.matmul(np.swapaxes(a, 1, 2).reshape(3, -1), b.reshape(-1, 4))
            if a.size
            else np.zeros((3, 4), F32)
        ),
        [(3, 5, "k"), ("k", 5, 4)],
    ),
}


def operands(shapes, length, make, dtypes=(torch.float32,)):
    for seed, shape in enumerate(shapes):
        shape = [length if each == "k" else each for each in shape]
        yield make(*shape, seed=seed + 1, dtype=dtypes[seed % len(dtypes)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, length, kind):
    operator, reference, shapes = PRODUCTS[name]
    check(operator, reference, *operands(shapes, length, KINDS[kind]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_operands_of_every_layout(name, layout):
    operator, reference, shapes = PRODUCTS[name]
    *first, last = operands(shapes, 70, KINDS["sprinkled"])
    check(operator, reference, *first, LAYOUTS[layout](last))
    check(operator, reference, *map(LAYOUTS[layout], first), last)


@pytest.mark.parametrize("dtype", FLOATS[1:])
@pytest.mark.parametrize("length", [0, 257])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_narrow_operands_are_rounded_once(name, length, dtype):
    operator, reference, shapes = PRODUCTS[name]
    check(operator, reference, *operands(shapes, length, ordinary, [dtype]), dtype=dtype)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 16, 17, 33, 65])
@pytest.mark.parametrize("columns", [0, 1, 15, 16, 17, 50])
def test_products_of_every_height_and_width(rows, columns):
    x, w, b = ordinary(rows, 30), ordinary(columns, 30, seed=1), ordinary(columns, seed=2)
    check(F.linear, products.linear, x, w, b)
    check(torch.mm, product, x, w.t())


def test_products_of_integers_are_exact():
    a, b = (
        torch.randint(-128, 128, (32, 264), dtype=torch.int8, generator=torch.Generator())
        for _ in range(2)
    )
    check(torch._int_mm, products.int_mm, a, b.t().contiguous(), dtype=torch.int32)
    check(torch._int_mm, products.int_mm, a, b.t())
    long = torch.ones(32, 131_072, dtype=torch.int8)
    with pytest.raises(NotExact):
        check(torch._int_mm, None, long, long.t())


CONVOLUTIONS = {  # shape of the input, of the weight, and torch's options
    "plain": ((2, 3, 7, 6), (5, 3, 3, 3), {}),
    "strided": ((2, 3, 9, 8), (5, 3, 3, 2), {"stride": (2, 3), "padding": (1, 2)}),
    "dilated": ((1, 4, 9, 9), (6, 4, 3, 3), {"dilation": (2, 3), "padding": (2, 3)}),
    "grouped": ((2, 6, 5, 5), (4, 3, 3, 3), {"groups": 2, "padding": (1, 1)}),
    "depthwise": ((1, 5, 6, 6), (5, 1, 3, 3), {"groups": 5, "padding": (1, 1)}),
    "doubling depthwise": ((1, 3, 6, 6), (6, 1, 3, 3), {"groups": 3}),
    "pointwise": ((2, 300, 3, 3), (4, 300, 1, 1), {}),
    "of many channels": ((1, 40, 5, 5), (3, 40, 3, 3), {"padding": (1, 1)}),
    "of no images": ((0, 3, 5, 5), (4, 3, 3, 3), {}),
    "all padding": ((1, 2, 1, 1), (2, 2, 3, 3), {"padding": (4, 4)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name, kind):
    shape, weight, options = CONVOLUTIONS[name]
    padding = [(each, each) for each in options.get("padding", (0, 0))]
    ours = {key: value for key, value in options.items() if key != "padding"}
    x, w = KINDS[kind](*shape, seed=1), KINDS[kind](*weight, seed=2)
    b = KINDS[kind](weight[0], seed=3)

    def reference(*each):
        return products.conv2d(*each, padding=padding, **ours)

    check(lambda *each: F.conv2d(*each, **options), reference, x, w, b)
    check(lambda *each: F.conv2d(*each, **options), reference, x, w)
    check(
        lambda *each: F.conv2d(*each, **options),
        reference,
        x.to(memory_format=torch.channels_last),
        LAYOUTS["stepped"](w),
        b,
    )
    check(lambda *each: F.conv2d(*each, **options), reference, LAYOUTS["zero-strided"](x), w, b)


@pytest.mark.parametrize("dtype", FLOATS)
def test_convolutions_of_one_axis(dtype):
    x, w, b = (
        ordinary(2, 6, 20, dtype=dtype),
        ordinary(4, 3, 5, dtype=dtype),
        ordinary(4, dtype=dtype),
    )
    options = {"stride": 2, "dilation": 2, "groups": 2}
    check(
        lambda *each: F.conv1d(*each, padding=3, **options),
        lambda *each: products.conv1d(*each, padding=(3, 3), **options),
        x,
        w,
        b,
    )
    check(
        lambda *each: F.conv1d(*each, padding="same"),
        lambda *each: products.conv1d(*each, padding=(1, 2)),
        x,
        ordinary(3, 6, 4, dtype=dtype),
    )
    check(
        F.conv1d, lambda x, w: products.conv1d(x[None], w)[0], x[0], ordinary(3, 6, 4, dtype=dtype)
    )


TRANSPOSED = {
    "plain": ((2, 3, 4, 5), (3, 4, 3, 2), {}),
    "strided": (
        (2, 4, 4, 3),
        (4, 3, 3, 2),
        {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)},
    ),
    "grouped": ((1, 4, 5, 5), (4, 2, 3, 3), {"groups": 2, "dilation": (2, 1), "padding": (3, 3)}),
    "pointwise": ((1, 2, 3, 3), (2, 2, 1, 1), {"stride": (2, 2)}),
    "of many channels": ((1, 90, 3, 3), (90, 2, 2, 2), {"stride": (2, 2)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name, kind):
    shape, weight, options = TRANSPOSED[name]
    x, w = KINDS[kind](*shape, seed=1), KINDS[kind](*weight, seed=2)
    b = KINDS[kind](weight[1] * options.get("groups", 1), seed=3)
    check(
        lambda *each: F.conv_transpose2d(*each, **options),
        lambda *each: products.conv_transpose2d(*each, **options),
        x,
        w,
        b,
    )
    check(
        lambda x, w: F.conv_transpose1d(x, w, stride=3, padding=1, output_padding=1),
        lambda x, w: products.conv_transpose1d(x, w, None, 3, 1, 1),
        x[:, :, 0],
        w[:, :, 0],
    )
