"""Section 6: operators that compute every element by itself."""

import math
from fractions import Fraction

import numpy as np

from . import functions
from .arithmetic import F32, fl, fma, maximum, minimum, rule  # noqa: F401
from .functions import erf, exp, expm1, log1p, tanh

ZERO, HALF, ONE, THREE, SIX = map(F32, (0, 0.5, 1, 3, 6))


@rule
def add(x, y, alpha=1):
    return x + y if alpha == 1 else x + (fl(alpha) * y)


@rule
def sub(x, y, alpha=1):
    return x - y if alpha == 1 else x - (fl(alpha) * y)


def rsub(x, y, alpha=1):
    return sub(y, x, alpha)


@rule
def mul(x, y):
    return x * y


@rule
def div(x, y):
    return x / y


def _finite_quotients(x, y, whole):
    """whole(x ÷ y) of the exact quotient of finite numbers, rounded once; 0 for the others."""
    usable = np.isfinite(x) & np.isfinite(y) & (y != 0)

    def quotient(a, b):
        return float(fl(whole(Fraction(a) / Fraction(b))))

    pairs = zip(*(np.where(usable, each, 1).ravel().tolist() for each in (x, y)), strict=True)
    values = np.array([quotient(a, b) for a, b in pairs], F32).reshape(x.shape)
    return np.where(usable, values, F32(0))


@rule
def trunc_divide(x, y):
    x, y = np.broadcast_arrays(np.asarray(x, F32), np.asarray(y, F32))
    finite = np.isfinite(x) & np.isfinite(y) & (y != 0)
    whole = np.copysign(_finite_quotients(x, y, math.trunc), x / y)
    return np.where(finite, whole, x / y)


@rule
def floor_divide(x, y):
    x, y = np.broadcast_arrays(np.asarray(x, F32), np.asarray(y, F32))
    finite = np.isfinite(x) & np.isfinite(y) & (y != 0)
    whole = np.copysign(_finite_quotients(x, y, math.floor), x / y)
    below = np.isfinite(x) & np.isinf(y) & (x != 0) & np.signbit(x / y)
    others = np.where(np.isinf(x) & (y != 0), F32(np.nan), np.where(below, F32(-1), x / y))
    return np.where(finite, whole, others)


@rule
def fmod(x, y):
    x, y = np.broadcast_arrays(np.asarray(x, F32), np.asarray(y, F32))
    finite = np.isfinite(x) & np.isfinite(y) & (y != 0)

    def left(a, b):
        return float(Fraction(a) - Fraction(b) * math.trunc(Fraction(a) / Fraction(b)))

    pairs = zip(*(np.where(finite, each, 1).ravel().tolist() for each in (x, y)), strict=True)
    values = np.array([left(a, b) for a, b in pairs], F32).reshape(x.shape)
    others = np.where(np.isfinite(x) & np.isinf(y), x, F32(np.nan))
    return np.where(finite, np.copysign(values, x), others)


@rule
def remainder(x, y):
    r = fmod(x, y)
    return np.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


@rule
def threshold(x, t, value):
    return np.where(x <= fl(t), fl(value), x)


@rule
def hardshrink(x, size=0.5):
    return np.where((x >= -fl(size)) & (x <= fl(size)), ZERO, x)


@rule
def softshrink(x, size=0.5):
    size = fl(size)
    return np.where(x > size, x - size, np.where(x < -size, x + size, x * ZERO))


@rule
def nan_to_num(x, nan, posinf, neginf):
    ends = np.where(x == np.inf, fl(posinf), np.where(x == -np.inf, fl(neginf), x))
    return np.where(np.isnan(x), fl(nan), ends)


@rule
def addcmul(x, a, b, value=1):
    return x + (a * b) if value == 1 else x + (fl(value) * (a * b))


@rule
def addcdiv(x, a, b, value=1):
    return x + (a / b) if value == 1 else x + (fl(value) * (a / b))


@rule
def lerp(x, y, w):
    return x + (w * (y - x))


@rule
def sqrt(x):
    return np.sqrt(x)


@rule
def reciprocal(x):
    return ONE / x


@rule
def rsqrt(x):
    return ONE / np.sqrt(x)


@rule
def square(x):
    return x * x


@rule
def fmax(x, y):
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, maximum(x, y)))


@rule
def fmin(x, y):
    return np.where(np.isnan(x), y, np.where(np.isnan(y), x, minimum(x, y)))


@rule
def clamp(x, lo=None, hi=None):
    if lo is not None:
        x = maximum(x, lo)
    return x if hi is None else minimum(x, hi)


@rule
def relu(x):
    return maximum(x, ZERO)


@rule
def relu6(x):
    return minimum(maximum(x, ZERO), SIX)


@rule
def leaky_relu(x, slope):
    return np.where(x > 0, x, x * fl(slope))


@rule
def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    return np.where(
        x > 0, x * fl(scale), expm1(x * fl(input_scale)) * fl(float(alpha) * float(scale))
    )


@rule
def prelu(x, w):
    return np.where(x > 0, x, x * w)


@rule
def glu(a, b):
    return a * sigmoid(b)


@rule
def sigmoid(x):
    return ONE / (ONE + exp(-x))


@rule
def silu(x):
    return x / (ONE + exp(-x))


@rule
def log_sigmoid(x):
    return minimum(x, ZERO) - log1p(exp(-np.abs(x)))


@rule
def softplus(x, beta=1, threshold=20):
    z = x * fl(beta)
    return np.where(z > fl(threshold), x, log1p(exp(z)) / fl(beta))


@rule
def mish(x):
    return x * tanh(log1p(exp(x)))


@rule
def gelu(x):
    return (x * HALF) * (ONE + erf(x * np.uint32(0x3F3504F3).view(F32)))


@rule
def gelu_tanh(x):
    cubic, root = np.array([0x3D372713, 0x3F4C422A], np.uint32).view(F32)
    u = x + (cubic * ((x * x) * x))
    return (x * HALF) * (ONE + tanh(root * u))


@rule
def hardsigmoid(x):
    return minimum(maximum(x + THREE, ZERO), SIX) / SIX


@rule
def hardswish(x):
    return (x * minimum(maximum(x + THREE, ZERO), SIX)) / SIX


@rule
def softsign(x):
    return x / (ONE + np.abs(x))


@rule
def floor(x):
    return np.floor(x)


@rule
def ceil(x):
    return np.ceil(x)


@rule
def round_to_even(x):
    return np.rint(x)


@rule
def trunc(x):
    return np.trunc(x)


@rule
def frac(x):
    return x - np.trunc(x)


@rule
def sign(x):
    return np.where(np.isnan(x), x, np.where(x > 0, ONE, np.where(x < 0, -ONE, ZERO)))


pow_number, power = functions.pow_number, functions.power
