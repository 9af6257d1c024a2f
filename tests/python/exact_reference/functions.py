"""Section 5: elementary functions, correctly rounded by MPFR at binary32's precision and range."""

import gmpy2
import numpy as np

from .arithmetic import F32, fl, rule

# MPFR's exponents are of mantissas in [1/2, 1): 2^-149 has the exponent -148.
BINARY32 = {"precision": 24, "emin": -148, "emax": 128, "subnormalize": True}

NAMES = "exp exp2 expm1 log log2 log10 log1p sin cos tan tanh sinh cosh erf erfc".split()


def correctly_rounded(function, *arguments):
    """The function of every element; equal arguments are computed once."""
    arrays = np.broadcast_arrays(*(np.asarray(each, F32) for each in arguments))
    known = {}

    def value(*bits):
        if bits not in known:
            known[bits] = function(*(gmpy2.mpfr(float(np.uint32(each).view(F32))) for each in bits))
        return float(known[bits])

    with gmpy2.context(**BINARY32):
        patterns = (each.ravel().view(np.uint32).tolist() for each in arrays)
        values = [value(*bits) for bits in zip(*patterns, strict=True)]
    return np.array(values, F32).reshape(arrays[0].shape)


def _elementary(name):
    @rule
    def compute(x):
        return correctly_rounded(getattr(gmpy2, name), x)

    compute.__name__ = name
    return compute


exp, exp2, expm1, log, log2, log10, log1p, sin, cos, tan, tanh, sinh, cosh, erf, erfc = map(
    _elementary, NAMES
)


@rule
def pow_number(x, exponent):
    """x to the power of a Python number."""
    x, exponent = np.asarray(x, F32), fl(exponent)
    if exponent == 0:
        return np.ones_like(x)
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    if exponent == 3:
        return (x * x) * x
    if exponent == 0.5:
        return np.where(x == -np.inf, F32(np.inf), np.sqrt(x + F32(0)))
    if exponent == -0.5:
        return F32(1) / pow_number(x, 0.5)
    if exponent == -1:
        return F32(1) / x
    if exponent == -2:
        return F32(1) / (x * x)
    return power(x, exponent)


@rule
def power(x, y):
    return correctly_rounded(lambda base, exponent: base**exponent, x, y)
