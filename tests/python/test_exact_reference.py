"""The arithmetic and functions of exact/1's reference against MPFR, torch and the page."""

import math

import gmpy2
import numpy as np
import pytest
import torch

from exact_reference import arithmetic, elementwise, functions
from exact_reference.arithmetic import F32, fl, fma
from exact_values import INF, LEAST, NAN, bits, patterns, random


def test_denormals_are_kept_by_the_arithmetic_under_the_reference():
    smallest = np.array([LEAST], F32)
    assert bits(smallest + smallest) == [2]
    assert bits(F32(2.0**-126) * F32(0.5)) == 0x00400000
    assert np.array([LEAST], np.float64).astype(F32).view(np.uint32) == 1


def test_fma_is_rounded_once_at_every_exponent():
    a, b, c = patterns(20_000, 1), patterns(20_000, 2), patterns(20_000, 3)
    near = np.random.default_rng(4).random(len(a)) < 0.7
    with np.errstate(all="ignore"):
        # Where c nearly cancels the product, or lies where its roundings are ties.
        c = np.where(near, -(a * b) * F32(1 + (c.view(np.uint32) % 4) * 2.0**-23), c)
        a[::5], b[::5] = random(4000, seed=5) * F32(2.0**-75), random(4000, seed=6) * F32(2.0**-75)
        c[::5] = (c[::5].view(np.uint32) & np.uint32(0x80000003)).view(F32)
        # Products of 26 bits are often ties, from which c is far or absent.
        a[1::5], b[1::5] = (
            F32(1 + (each[1::5].view(np.uint32) % 4096) * 2.0**-12) for each in (a, b)
        )
        c[1::5] = F32(np.sign(random(4000, seed=7)) * 2.0 ** -(40 + 30 * (np.arange(4000) % 3)))
        ours = fma(a, b, c)
    with gmpy2.context(**functions.BINARY32):
        exact = [
            float(gmpy2.fma(*(gmpy2.mpfr(float(each)) for each in triple)))
            for triple in zip(a, b, c, strict=True)
        ]
    assert bits(ours) == bits(np.array(exact))


@pytest.mark.parametrize(
    ("a", "b", "c", "expected"),
    [
        (1 + 2.0**-23, 1 + 2.0**-23, -(1 + 2.0**-22), 2.0**-46),
        (1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60, 1 + 2.0**-11 + 2.0**-23),  # just over a tie
        (1 + 2.0**-12, 1 + 2.0**-12, -(2.0**-60), 1 + 2.0**-11),  # just under it
        (2.0**-75, 2.0**-75, LEAST, 2 * LEAST),  # one and a half denormals: a tie
        (2.0**-75, 2.0**-75, 0.0, 0.0),
        (2.0**-75, 2.0**-75 * 1.5, 0.0, LEAST),
        (0.0, 1.0, -0.0, 0.0),
        (0.0, -1.0, -0.0, -0.0),
        (0.0, INF, 1.0, NAN),
        (2.0**127, 2.0, -(2.0**127), 2.0**127),
        (2.0**127, 2.0, 0.0, INF),
    ],
)
def test_fma_at_ties_ends_and_zeros(a, b, c, expected):
    with np.errstate(all="ignore"):
        assert bits(fma(a, b, c)) == bits(expected)


def test_binary64_sums_of_products_have_exact_products():
    a, b = patterns(5000, 7), patterns(5000, 8)
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        if math.isfinite(x) and math.isfinite(y):
            with gmpy2.context(precision=53):
                assert float(gmpy2.mpfr(x) * gmpy2.mpfr(y)) == x * y
            with gmpy2.context(precision=200):
                assert gmpy2.mpfr(x) * gmpy2.mpfr(y) == x * y


@pytest.mark.parametrize("name", functions.NAMES)
def test_elementary_functions_are_the_nearest_numbers_to_the_exact_values(name):
    x = patterns(300, 9)
    x = np.concatenate([x, random(300, seed=10, scale=3)])
    x = x[np.isfinite(x)]
    ours = getattr(functions, name)(x)
    with gmpy2.context(precision=400, emin=-(10**6), emax=10**6):
        exact = [getattr(gmpy2, name)(gmpy2.mpfr(float(each))) for each in x]
        for value, result in zip(exact, ours.tolist(), strict=True):
            if gmpy2.is_nan(value):
                assert result != result
            elif math.isinf(result):
                assert gmpy2.is_infinite(value) or abs(value) >= 2**128 - 2**103
            else:
                nearest = abs(value - gmpy2.mpfr(result))
                neighbours = np.nextafter(F32(result), F32([-INF, INF]))
                for other in neighbours.tolist():
                    other = math.copysign(2.0**128, other) if math.isinf(other) else other
                    assert nearest <= abs(value - gmpy2.mpfr(other))


@pytest.mark.parametrize(
    ("names", "arguments", "results"),
    [
        ("exp exp2", [INF, -INF, 0.0, -0.0], [INF, 0.0, 1.0, 1.0]),
        ("expm1", [INF, -INF, 0.0, -0.0], [INF, -1.0, 0.0, -0.0]),
        ("log log2 log10", [INF, 0.0, -0.0, -1.0, -LEAST, 1.0], [INF, -INF, -INF, NAN, NAN, 0.0]),
        ("log1p", [INF, -1.0, -1.5, 0.0, -0.0], [INF, -INF, NAN, 0.0, -0.0]),
        ("sin cos tan", [INF, -INF], [NAN, NAN]),
        ("sin tan tanh sinh erf", [0.0, -0.0], [0.0, -0.0]),
        ("tanh erf", [INF, -INF], [1.0, -1.0]),
        ("sinh", [INF, -INF], [INF, -INF]),
        ("cosh", [INF, -INF, 0.0], [INF, INF, 1.0]),
        ("erfc", [INF, -INF, 0.0], [0.0, 2.0, 1.0]),
        ("sin tan tanh sinh expm1 log1p", [LEAST, -LEAST], [LEAST, -LEAST]),
        ("exp", [-103.97, -103.98, 88.72, 88.73], [LEAST, 0.0, math.exp(F32(88.72)), INF]),
        (" ".join(functions.NAMES), [NAN], [NAN]),
    ],
)
def test_elementary_functions_have_the_special_values_of_the_page(names, arguments, results):
    for name in names.split():
        ours = getattr(functions, name)(F32(arguments))
        assert bits(ours) == bits(results), name


def test_powers_have_the_special_values_of_ieee_754():
    cases = [
        (NAN, 0.0, 1.0),
        (1.0, NAN, 1.0),
        (-1.0, INF, 1.0),
        (-8.0, 1 / 3, NAN),
        (-2.0, 5.0, -32.0),
        (-0.0, -3.0, -INF),
        (0.0, -4.0, INF),
        (-INF, 5.0, -INF),
        (-INF, -5.0, -0.0),
        (-INF, 4.5, INF),
        (0.5, INF, 0.0),
        (0.5, -INF, INF),
        (2.0, -149.0, LEAST),
        (2.0, 128.0, INF),
        (-0.0, 5.0, -0.0),
        (-0.0, 4.5, 0.0),
    ]
    base, exponent, result = zip(*cases, strict=True)
    assert bits(functions.power(F32(base), F32(exponent))) == bits(result)


def test_powers_of_common_numbers_are_products_and_roots():
    x = F32([-INF, -2.0, -0.0, 0.0, 3.0, INF, NAN])
    assert bits(functions.pow_number(x, 0)) == bits([1.0] * 7)
    assert bits(functions.pow_number(x, 0.5)) == bits([INF, NAN, 0, 0, np.sqrt(F32(3)), INF, NAN])
    assert bits(functions.pow_number(x, -0.5)[:4]) == bits([0.0, NAN, INF, INF])
    assert bits(functions.pow_number(x, -1)[:4]) == bits([-0.0, -0.5, -INF, INF])
    assert bits(functions.pow_number(x, -2)[:4]) == bits([0.0, 0.25, INF, INF])


def test_maximum_prefers_nan_and_the_greater_zero():
    assert bits(arithmetic.maximum(F32([-0.0, 0.0, NAN, 1]), F32([0.0, -0.0, 1, NAN]))) == bits(
        [0.0, 0.0, NAN, NAN]
    )
    assert bits(arithmetic.minimum(F32([-0.0, 0.0, NAN]), F32([0.0, -0.0, 1]))) == bits(
        [-0.0, -0.0, NAN]
    )
    assert bits(elementwise.fmax(F32([NAN, 1, NAN]), F32([2, NAN, NAN]))) == bits([2, 1, NAN])


@pytest.mark.parametrize("storage", ["bfloat16", "float16"])
def test_narrow_storage_rounds_once_to_nearest_even(storage):
    x = np.concatenate([patterns(4000, 11), random(4000, seed=12, scale=1e-6)])
    halves = random(2000, seed=13).view(np.uint32) & np.uint32(0xFFFF8000)  # ties of bfloat16
    x = np.concatenate([x, halves.view(F32), F32([65519.99, 65520, 2.0**-25, -(2.0**-24), -0.0])])
    ours = arithmetic.stored(x, storage)
    theirs = torch.from_numpy(x).to(getattr(torch, storage))
    nan = torch.isnan(theirs).numpy()
    theirs = theirs.view(torch.uint16).numpy()
    assert np.array_equal(ours[~nan], theirs[~nan])
    assert set(ours[nan].tolist()) == {0x7FC0 if storage == "bfloat16" else 0x7E00}
    back = arithmetic.loaded(ours, storage)
    assert np.array_equal(arithmetic.stored(back, storage), ours)


def test_constants_round_once_and_integers_directly():
    # By way of binary64 this integer would become a tie, and go down.
    assert fl(2**60 + 2**36 + 1) == F32(2.0**60 + 2.0**37)
    assert bits(fl(0.1)) == 0x3DCCCCCD
    assert bits(fl(1e300)) == 0x7F800000


def test_conversions_truncate_to_the_nearest_integer_that_the_type_has():
    assert arithmetic.to_integer(F32([-1.9, 1.9, -0.0]), np.int32).tolist() == [-1, 1, 0]
    assert arithmetic.to_integer(F32([-128.9, 127.9]), np.int8).tolist() == [-128, 127]
    for value, dtype, integer in [
        (NAN, np.int32, 0),
        (INF, np.int64, 2**63 - 1),
        (-INF, np.int64, -(2**63)),
        (2.0**63, np.int64, 2**63 - 1),
        (128.0, np.int8, 127),
        (-1.0, np.uint8, 0),
    ]:
        assert arithmetic.to_integer(F32([value]), dtype).tolist() == [integer]
    assert arithmetic.to_boolean(F32([0.0, -0.0, NAN, LEAST])).tolist() == [
        False,
        False,
        True,
        True,
    ]
