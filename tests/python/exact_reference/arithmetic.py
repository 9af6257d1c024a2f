"""Sections 1 and 11: operations of binary32, storage, constants, conversions, ranges."""

import functools

import gmpy2
import numpy as np

F32, F64 = np.float32, np.float64
QUIET_NAN = np.uint32(0x7FC00000).view(F32)
STORAGE_BITS = {"float32": np.uint32, "bfloat16": np.uint16, "float16": np.uint16}


def rule(compute):
    """Marks what is a rule of the page: NaNs leave it without payload."""

    @functools.wraps(compute)
    def computed(*arguments, **options):
        with np.errstate(all="ignore"):
            result = compute(*arguments, **options)
        if isinstance(result, tuple):
            return tuple(map(_without_payload, result))
        return _without_payload(result)

    return computed


def _without_payload(values):
    values = np.asarray(values)
    if values.dtype != F32:
        return values
    return np.where(np.isnan(values), QUIET_NAN, values)


def fl(number) -> np.float32:
    """A real number rounded once to binary32; an integer not by way of binary64."""
    if isinstance(number, (int, np.integer)):
        with gmpy2.context(precision=24):
            return F32(float(gmpy2.mpfr(int(number))))
    with np.errstate(over="ignore", under="ignore"):
        return F32(number)


def widened(values) -> np.ndarray:
    """An operand as binary32: an integer or boolean by one rounding."""
    return np.asarray(values).astype(F32)


def fma(a, b, c):
    """a × b + c, rounded once (Boldo and Melquiond: the sum rounded to odd in binary64)."""
    a, b, c = (np.asarray(each, F32).astype(F64) for each in (a, b, c))
    product = a * b  # exact: at most 48 bits, no exponent under -298
    total = product + c
    from_c = total - product
    error = (product - (total - from_c)) + (c - from_c)
    bits = np.asarray(total).view(np.int64)
    inexact = np.isfinite(total) & (error != 0) & (bits % 2 == 0)
    outwards = np.signbit(error) == np.signbit(total)
    odd = bits + np.where(inexact, np.where(outwards, 1, -1), 0)
    return odd.view(F64).astype(F32)


def maximum(x, y):
    x, y = np.broadcast_arrays(np.asarray(x, F32), np.asarray(y, F32))
    greater = (x > y) | ((x == y) & ~np.signbit(x))  # of zeros the one without a sign
    return np.where(np.isnan(x) | np.isnan(y), QUIET_NAN, np.where(greater, x, y))


def minimum(x, y):
    return -maximum(-np.asarray(x, F32), -np.asarray(y, F32))


def stored(values, storage: str) -> np.ndarray:
    """The bits of binary32 or binary64 values rounded once to a storage."""
    if storage == "float32":
        rounded = np.asarray(values).astype(F32)
        return np.where(np.isnan(rounded), QUIET_NAN, rounded).view(np.uint32)
    precision, emin, emax = {"bfloat16": (8, -132, 128), "float16": (11, -23, 16)}[storage]
    context = gmpy2.context(precision=precision, emin=emin, emax=emax, subnormalize=True)

    def bits(value):
        with gmpy2.context(context):
            rounded = float(gmpy2.mpfr(float(value)))
        if storage == "float16":
            nan = 0x7E00
            pattern = F16_bits(rounded)
        else:
            nan = 0x7FC0
            pattern = int(F32(rounded).view(np.uint32)) >> 16
        return nan if rounded != rounded else pattern

    values = np.asarray(values)
    return np.array([bits(each) for each in values.ravel()], np.uint16).reshape(values.shape)


def F16_bits(value: float) -> int:
    """The pattern of a number that binary16 holds exactly."""
    return int(np.float16(value).view(np.uint16))


def loaded(bits: np.ndarray, storage: str) -> np.ndarray:
    """The binary32 values of stored bits, NaNs with their payloads where they are float32."""
    if storage == "float32":
        return bits.view(F32)
    if storage == "bfloat16":
        return (bits.astype(np.uint32) << 16).view(F32)
    return bits.view(np.float16).astype(F32)


def to_integer(values, dtype):
    """Truncated; beyond the integer's range its nearest end, of a NaN 0."""
    limits = np.iinfo(dtype)

    def integer(value):
        if value != value:
            return 0
        if value in (np.inf, -np.inf):
            return limits.max if value > 0 else limits.min
        return min(max(int(value), int(limits.min)), int(limits.max))

    values = np.asarray(values, F32)
    return np.array([integer(each) for each in values.ravel().tolist()], dtype).reshape(
        values.shape
    )


def to_boolean(values):
    return np.asarray(values) != 0


def arange(start, end, step) -> np.ndarray:
    """binary64 elements, to be rounded once to their storage."""
    count = int(np.ceil((F64(end) - F64(start)) / F64(step)))
    return np.array([F64(start) + F64(index) * F64(step) for index in range(count)], F64)
