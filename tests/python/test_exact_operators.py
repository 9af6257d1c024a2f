"""Operators that compute every element by itself, under exact/1 and by the reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, LAYOUTS, check, numbers, ordinary, special
from exact_reference import arithmetic, elementwise, functions
from exact_reference.arithmetic import F32, fl, rule, widened
from exact_values import LEAST
from torchnotary.errors import NotExact
from torchnotary.exact import exact_scope

ONE_OPERAND = {
    **{
        name: (getattr(torch, name), getattr(functions, name))
        for name in functions.NAMES
        if hasattr(torch, name)
    },
    "sqrt": (torch.sqrt, elementwise.sqrt),
    "reciprocal": (torch.reciprocal, elementwise.reciprocal),
    "rsqrt": (torch.rsqrt, elementwise.rsqrt),
    "square": (torch.square, elementwise.square),
    "relu": (torch.relu, elementwise.relu),
    "relu6": (F.relu6, elementwise.relu6),
    "hardtanh": (
        lambda x: F.hardtanh(x, -0.3, 0.7),
        lambda x: elementwise.clamp(x, fl(-0.3), fl(0.7)),
    ),
    "clamp": (lambda x: x.clamp(-0.1, 2), lambda x: elementwise.clamp(x, fl(-0.1), fl(2))),
    "clamp_min": (lambda x: x.clamp_min(0), lambda x: elementwise.clamp(x, F32(0))),
    "clamp_max": (lambda x: x.clamp(max=0), lambda x: elementwise.clamp(x, None, F32(0))),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.1), lambda x: elementwise.leaky_relu(x, 0.1)),
    "elu": (lambda x: F.elu(x, 0.7), lambda x: elementwise.elu(x, 0.7)),
    "selu": (
        torch.selu,
        lambda x: elementwise.elu(
            x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
        ),
    ),
    "celu": (
        lambda x: F.celu(x, 1.3),
        lambda x: elementwise.elu(x, 1.3, 1.0, 1 / 1.3),
    ),
    "sigmoid": (torch.sigmoid, elementwise.sigmoid),
    "silu": (F.silu, elementwise.silu),
    "log_sigmoid": (F.logsigmoid, elementwise.log_sigmoid),
    "softplus": (F.softplus, elementwise.softplus),
    "softplus of 0.3": (lambda x: F.softplus(x, 0.3, 5), lambda x: elementwise.softplus(x, 0.3, 5)),
    "mish": (F.mish, elementwise.mish),
    "gelu": (F.gelu, elementwise.gelu),
    "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), elementwise.gelu_tanh),
    "hardsigmoid": (F.hardsigmoid, elementwise.hardsigmoid),
    "hardswish": (F.hardswish, elementwise.hardswish),
    "threshold": (
        lambda x: F.threshold(x, 0.1, -7.3),
        lambda x: elementwise.threshold(x, 0.1, -7.3),
    ),
    "hardshrink": (F.hardshrink, elementwise.hardshrink),
    "hardshrink of 0.1": (
        lambda x: F.hardshrink(x, 0.1),
        lambda x: elementwise.hardshrink(x, 0.1),
    ),
    "softshrink": (lambda x: F.softshrink(x, 0.3), lambda x: elementwise.softshrink(x, 0.3)),
    "nan_to_num": (
        lambda x: torch.nan_to_num(x, 0.1, 7, -0.3),
        lambda x: elementwise.nan_to_num(x, 0.1, 7, -0.3),
    ),
    "modulo 0.3": (lambda x: x % 0.3, lambda x: elementwise.remainder(x, fl(0.3))),
    "a number modulo": (
        lambda x: torch.remainder(-0.3, x),
        lambda x: elementwise.remainder(fl(-0.3), x),
    ),
    "fmod 3": (lambda x: torch.fmod(x, 3), lambda x: elementwise.fmod(x, fl(3))),
    "by -0.1, floored": (lambda x: x // -0.1, lambda x: elementwise.floor_divide(x, fl(-0.1))),
    "a number, floored": (lambda x: 7.3 // x, lambda x: elementwise.floor_divide(fl(7.3), x)),
    "by 0.7, truncated": (
        lambda x: torch.div(x, 0.7, rounding_mode="trunc"),
        lambda x: elementwise.trunc_divide(x, fl(0.7)),
    ),
    "floor": (torch.floor, elementwise.floor),
    "ceil": (torch.ceil, elementwise.ceil),
    "round": (torch.round, elementwise.round_to_even),
    "trunc": (torch.trunc, elementwise.trunc),
    "frac": (torch.frac, elementwise.frac),
    "sign": (torch.sign, elementwise.sign),
    **{
        f"pow {y}": (lambda x, y=y: x.pow(y), lambda x, y=y: elementwise.pow_number(x, y))
        for y in (0, 1, 2, 3, 0.5, -0.5, -1, -2, 4, 1.7, -3)
    },
    "2 to the power": (lambda x: 2**x, lambda x: elementwise.power(F32(2), x)),
    "isnan": (torch.isnan, np.isnan),
    "isinf": (torch.isinf, np.isinf),
    "isfinite": (torch.isfinite, np.isfinite),
    "not": (torch.logical_not, lambda x: x == 0),
    "less than a number": (lambda x: x < 0.1, lambda x: x < fl(0.1)),
    "number minus": (lambda x: 0.1 - x, lambda x: elementwise.sub(fl(0.1), x)),
    "number over": (
        lambda x: 0.1 / x,
        lambda x: elementwise.mul(elementwise.div(F32(1), x), fl(0.1)),
    ),
    "over a number": (lambda x: x / 3, lambda x: elementwise.div(x, fl(3))),
    "plus a number": (lambda x: x + 0.1, lambda x: elementwise.add(x, fl(0.1))),
    "plus a great integer": (
        lambda x: x + (2**60 + 2**36 + 1),
        lambda x: elementwise.add(x, fl(2**60 + 2**36 + 1)),
    ),
    "in place": (
        lambda x: x.clone().mul_(0.3).add_(x, alpha=0.7),
        lambda x: elementwise.add(elementwise.mul(x, fl(0.3)), x, 0.7),
    ),
}


SEVERAL = ("in place", "number over")  # operators, between which narrow results are stored


@pytest.mark.parametrize("layout", [*LAYOUTS, "empty", "scalar"])
@pytest.mark.parametrize("name", ONE_OPERAND)
def test_operators_of_one_operand(name, layout):
    if layout == "empty":
        x = ordinary(3, 0, 2)
    elif layout == "scalar":
        x = ordinary()
    else:
        x = LAYOUTS[layout](special(7, 9, seed=1))
    check(*ONE_OPERAND[name], x)


@pytest.mark.parametrize("dtype", FLOATS[1:])
@pytest.mark.parametrize("name", [each for each in ONE_OPERAND if each not in SEVERAL])
def test_operators_of_one_narrow_operand(name, dtype):
    check(*ONE_OPERAND[name], special(70, dtype=dtype, seed=2))


@pytest.mark.parametrize("dtype", FLOATS)
def test_activations_with_operands_of_their_own(dtype):
    x, w = special(4, 6, 9, dtype=dtype, seed=2), special(6, dtype=dtype, seed=3)
    check(F.prelu, lambda x, w: elementwise.prelu(x, w[:, None]), x, w)
    for axis in (0, 1):
        check(
            lambda x, axis=axis: F.glu(x, axis),
            lambda x, axis=axis: elementwise.glu(*np.split(x, 2, axis)),
            x,
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_signs_keep_all_other_bits_of_a_nan(dtype):
    x = special(200, dtype=dtype, seed=3)
    unsigned = torch.uint32 if dtype == torch.float32 else torch.uint16
    top = 1 << (31 if dtype == torch.float32 else 15)
    before = x.view(unsigned).numpy()
    with exact_scope():
        negated, absolute, copied = -x, x.abs(), x.copysign(torch.tensor(-1.0, dtype=dtype))
    assert np.array_equal(negated.view(unsigned).numpy(), before ^ before.dtype.type(top))
    assert np.array_equal(absolute.view(unsigned).numpy(), before & before.dtype.type(top - 1))
    assert np.array_equal(copied.view(unsigned).numpy(), before | before.dtype.type(top))


TWO_OPERANDS = {
    "add": (torch.add, elementwise.add),
    "add 0.3": (lambda x, y: torch.add(x, y, alpha=0.3), lambda x, y: elementwise.add(x, y, 0.3)),
    "sub": (torch.sub, elementwise.sub),
    "sub 3": (lambda x, y: torch.sub(x, y, alpha=3), lambda x, y: elementwise.sub(x, y, 3)),
    "rsub": (lambda x, y: torch.rsub(x, y, alpha=0.3), lambda x, y: elementwise.rsub(x, y, 0.3)),
    "mul": (torch.mul, elementwise.mul),
    "div": (torch.div, elementwise.div),
    "div, truncated": (
        lambda x, y: torch.div(x, y, rounding_mode="trunc"),
        elementwise.trunc_divide,
    ),
    "div, floored": (
        lambda x, y: torch.div(x, y, rounding_mode="floor"),
        elementwise.floor_divide,
    ),
    "floor_divide": (torch.floor_divide, elementwise.floor_divide),
    "fmod": (torch.fmod, elementwise.fmod),
    "remainder": (torch.remainder, elementwise.remainder),
    "maximum": (torch.maximum, rule(arithmetic.maximum)),
    "minimum": (torch.minimum, rule(arithmetic.minimum)),
    "fmax": (torch.fmax, elementwise.fmax),
    "fmin": (torch.fmin, elementwise.fmin),
    "lerp by a number": (
        lambda x, y: torch.lerp(x, y, 0.3),
        lambda x, y: elementwise.lerp(x, y, fl(0.3)),
    ),
    "clamp by tensors": (
        lambda x, y: torch.clamp(x, y, y + 1),
        lambda x, y: elementwise.clamp(x, y, elementwise.add(y, F32(1))),
    ),
    "pow": (torch.pow, elementwise.power),
    "eq": (torch.eq, lambda x, y: x == y),
    "ne": (torch.ne, lambda x, y: x != y),
    "lt": (torch.lt, lambda x, y: x < y),
    "le": (torch.le, lambda x, y: x <= y),
    "gt": (torch.gt, lambda x, y: x > y),
    "ge": (torch.ge, lambda x, y: x >= y),
    "and": (torch.logical_and, lambda x, y: (x != 0) & (y != 0)),
    "xor": (torch.logical_xor, lambda x, y: (x != 0) ^ (y != 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TWO_OPERANDS)
def test_operators_of_two_operands(name, layout):
    x, y = special(9, 40, seed=4), LAYOUTS[layout](special(9, 40, seed=5))
    check(*TWO_OPERANDS[name], x, y)
    check(*TWO_OPERANDS[name], y, x)


@pytest.mark.parametrize("shapes", [((3, 1, 5), (4, 1)), ((), (6,)), ((1, 0), (3, 1)), ((5,), ())])
@pytest.mark.parametrize("name", TWO_OPERANDS)
def test_operands_are_broadcast(name, shapes):
    if name == "clamp by tensors":
        shapes = (np.broadcast_shapes(*shapes), shapes[1])
    x, y = (special(*shape, seed=6 + each) for each, shape in enumerate(shapes))
    if "lerp" in name and x.shape != y.shape:
        x, y = torch.broadcast_tensors(x, y)
    check(*TWO_OPERANDS[name], x, y)


MIXED = [
    (torch.float32, torch.bfloat16),
    (torch.float16, torch.float32),
    (torch.bfloat16, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16),
]


@pytest.mark.parametrize("dtypes", MIXED)
@pytest.mark.parametrize("name", TWO_OPERANDS)
def test_operands_of_several_types_widen_first(name, dtypes):
    if "lerp" in name and dtypes[0] != dtypes[1]:
        pytest.skip("torch has no lerp of several types")
    if name == "clamp by tensors":  # y + 1 is stored in between
        pytest.skip("an operand is itself computed")
    x, y = (special(150, dtype=dtype, seed=8 + each) for each, dtype in enumerate(dtypes))
    check(*TWO_OPERANDS[name], x, y)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("name", ["add", "mul", "div", "lt", "maximum", "add 0.3"])
def test_integers_widen_by_one_rounding(name, dtype):
    operator, reference = TWO_OPERANDS[name]
    integers = torch.tensor([0, 1, 7, 2**24 + 1, -(2**24) - 3, 2**60 + 2**36 + 1]).to(dtype)
    x = special(20, 6, seed=10)
    check(operator, lambda a, b: reference(a, widened(b)), x, integers)
    if name == "div":
        check(operator, lambda a, b: reference(widened(a), widened(b)), integers, integers)


def test_quotients_that_are_whole_numbers_are_exact_and_then_rounded_once():
    x = torch.tensor([1.0, 2.0**24 + 2, 2.0**127, 3e38, -3e38, 7.0, -7.0, LEAST, -LEAST, 1e-39])
    y = torch.tensor([0.1, 3.0, 3.0, 7.3, LEAST * 3, 0.7, 7.0, 1e30, 1e30, 1e-40, -7e-42])
    for name in ("div, truncated", "div, floored", "fmod", "remainder"):
        check(*TWO_OPERANDS[name], x[:, None], y)
    # Just above 2^24 + 1, which is halfway between two numbers, the upper one the nearest to x ÷ y.
    x, y = torch.tensor(2.0**24 + 4), torch.tensor(1 + 2.0**-23)
    with exact_scope():
        assert x / y == 2**24 + 2 and x // y == 2**24
        assert torch.tensor(1.0) // 0.1 == 9 == 1.0 // 0.1


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinities_become_the_ends_of_the_storages_range(dtype):
    ends = torch.finfo(dtype)
    check(
        torch.nan_to_num,
        lambda x: elementwise.nan_to_num(x, 0, ends.max, ends.min),
        special(99, dtype=dtype, seed=20),
        dtype=dtype,
    )


THREE_OPERANDS = {
    "addcmul": (torch.addcmul, elementwise.addcmul),
    "addcmul 0.3": (
        lambda *each: torch.addcmul(*each, value=0.3),
        lambda *each: elementwise.addcmul(*each, 0.3),
    ),
    "addcdiv": (torch.addcdiv, elementwise.addcdiv),
    "addcdiv 0.3": (
        lambda *each: torch.addcdiv(*each, value=0.3),
        lambda *each: elementwise.addcdiv(*each, 0.3),
    ),
    "lerp": (torch.lerp, elementwise.lerp),
    "clamp": (torch.clamp, elementwise.clamp),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", THREE_OPERANDS)
def test_operators_of_three_operands(name, layout, dtype):
    x, y, z = (special(7, 30, dtype=dtype, seed=seed) for seed in (11, 12, 13))
    check(*THREE_OPERANDS[name], x, LAYOUTS[layout](y), z)


@pytest.mark.parametrize("dtype", FLOATS)
def test_selecting_with_a_number_rounds_it_to_binary32_first(dtype):
    x, mask = special(60, dtype=dtype, seed=14), special(60, seed=15) > 0
    number = 1 + 2.0**-8 + 2.0**-40  # just over a tie of bfloat16, a tie in binary32
    unsigned = torch.uint32 if dtype == torch.float32 else torch.uint16
    kept = x.view(unsigned).numpy()
    pattern = arithmetic.stored(fl(number), str(dtype).removeprefix("torch."))
    with exact_scope():
        filled, chosen = x.masked_fill(mask, number), torch.where(mask, number, x)
    for result in (filled, chosen):
        assert np.array_equal(result.view(unsigned).numpy(), np.where(mask.numpy(), pattern, kept))


NUMBERS = {
    "add": (lambda x, y: x + y, elementwise.add),
    "from the left": (lambda x, y: y - x, lambda x, y: elementwise.sub(y, x)),
    "mul_": (lambda x, y: x.clone().mul_(y), elementwise.mul),
    "where": (lambda x, y: torch.where(x > 0, x, y), lambda x, y: np.where(x > 0, x, y)),
    "masked_fill": (
        lambda x, y: x.masked_fill(x > 0, y),
        lambda x, y: np.where(x > 0, y, x),
    ),
    "compared": (lambda x, y: x < y, lambda x, y: x < y),
    "maximum": (torch.maximum, rule(arithmetic.maximum)),
    "clamp_min": (lambda x, y: x.clamp_min(y), elementwise.clamp),
    "divided, floored": (lambda x, y: x // y, elementwise.floor_divide),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NUMBERS)
def test_float64_tensors_without_axes_are_taken_as_numbers(name, dtype):
    operator, reference = NUMBERS[name]
    number = torch.tensor(0.1 + 2.0**-31, dtype=torch.float64)
    x = numbers(60, dtype=dtype, seed=21)
    x[0] = number
    check(
        lambda x: operator(x, number),
        lambda x: reference(x, fl(number.item())),
        x,
        dtype=torch.bool if name == "compared" else dtype,
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_float64_tensors_without_axes_convert(dtype):
    for value in (0.1, 1 + 2.0**-8 + 2.0**-40, 1e300, float("nan"), -0.0, 1e-300):
        number = torch.tensor(value, dtype=torch.float64)
        check(lambda x: x.to(dtype), lambda x: fl(x), number, dtype=dtype)
        check(lambda x: torch.ones(3, dtype=dtype).copy_(x), lambda x: np.full(3, fl(x)), number)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + x,
        lambda x: x + 1,
        lambda x: x > 0.5,
        lambda x: x + torch.ones((), dtype=torch.float32),
        lambda x: x * torch.ones(3, dtype=torch.int64),
        lambda x: x.sum(),
        lambda x: x.isnan(),
        lambda x: x.long(),
        lambda x: x.bool(),
        lambda x: x.median(),
        lambda x: x.sort(),
        lambda x: x.sqrt(),
        lambda x: F.glu(x[None].expand(2)),
        lambda x: x.softmax(0),
        lambda x: torch.ones(2).double(),
        lambda x: torch.stack([x, torch.ones(())]),
        lambda x: torch.ones(2, dtype=torch.float64) + 1,
        lambda x: x.cumsum(0),
        lambda x: torch.zeros(1, dtype=torch.int64) + x,
    ],
)
def test_results_of_float64_stay_refused(function):
    with torch.no_grad(), exact_scope(), pytest.raises(NotExact):
        function(torch.tensor(0.5, dtype=torch.float64))


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_conversions_between_floating_types_round_once(source, target, layout):
    x = LAYOUTS[layout](special(9, 40, dtype=source, seed=16))
    if source != target:
        check(lambda x: x.to(target), lambda x: x, x, dtype=target)
        check(lambda x: torch.empty(x.shape, dtype=target).copy_(x), lambda x: x, x)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("layout", [*LAYOUTS, "empty"])
def test_conversions_to_integers_truncate_and_stay_in_the_range(dtype, source, layout):
    bounds = [float(each) for each in (torch.iinfo(dtype).min, torch.iinfo(dtype).max)]
    near = [bound + step for bound in bounds for step in (-1.5, -1, -0.5, 0, 0.5, 1, 1.5)]
    far = [bound * factor for bound in bounds for factor in (0.99, 1.01, -1)]
    x = torch.cat([torch.tensor([*near, *far, 100.5, -0.75]), special(40, seed=19)]).to(source)
    x = LAYOUTS[layout](x.expand(3, -1)) if layout != "empty" else x[:0]
    reference = lambda x: arithmetic.to_integer(x, str(dtype)[6:])  # noqa: E731
    check(lambda x: x.to(dtype), reference, x, dtype=dtype)
    check(lambda x: torch.empty(x.shape, dtype=dtype).copy_(x), reference, x, dtype=dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_integers_and_booleans_convert(dtype):
    x = torch.tensor([0, 1, -7, 2**24 + 1, 2**24 + 3, 2**60 + 2**36 + 1, 65504, 65520, 2**63 - 1])
    check(lambda x: x.to(dtype), widened, x, dtype=dtype)
    check(lambda x: x.to(dtype), widened, x > 1, dtype=dtype)
    check(lambda x: x.bool(), lambda x: x != 0, special(99, dtype=dtype, seed=17))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "bounds",
    [(0, 5, 0.1), (-3.3, 7, 0.7), (1, 0, -0.01), (0, 300, 1), (1 + 2.0**-8 + 2.0**-40, 2, 0.3)],
)
def test_ranges(bounds, dtype):
    check(lambda: torch.arange(*bounds, dtype=dtype), lambda: arithmetic.arange(*bounds))


def test_numbers_without_an_exact_power_stay_exact():
    x = numbers(400, seed=18).abs()
    check(*ONE_OPERAND["pow 1.7"], x)
