"""Section 7: sums and what is made of them; norms."""

import numpy as np

from .arithmetic import F32, F64, fl, fma, maximum, rule
from .functions import exp, log

MANY = 4096
ONE = F32(1)


def elements(x, dims=None):
    """[n, kept axes …] of x: the reduced axes, row-major; all of them without ``dims``."""
    x = np.asarray(x, F32)
    dims = range(x.ndim) if dims is None else dims
    dims = sorted({dim % x.ndim for dim in dims}) if x.ndim else []
    kept = [dim for dim in range(x.ndim) if dim not in dims]
    shape = [x.shape[dim] for dim in kept]
    count = int(np.prod([x.shape[dim] for dim in dims], dtype=np.int64))
    return x.transpose(dims + kept).reshape([count, *shape])


def _sixteen_lanes(count, shape, start, step, join):
    wide = F64 if count > MANY else F32
    lanes = [np.full(shape, start, wide) for _ in range(16)]
    for index in range(count):
        lanes[index % 16] = step(lanes[index % 16], index, wide)
    for half in (8, 4, 2, 1):
        lanes = [join(lanes[lane], lanes[lane + half]) for lane in range(half)]
    return np.asarray(lanes[0]).astype(F32)


@rule
def sum_first(x):
    """The sum of x[0], x[1], …"""
    return _sixteen_lanes(
        len(x), x.shape[1:], 0, lambda lane, i, wide: lane + x[i].astype(wide), np.add
    )


@rule
def sum_of_products(a, b):
    def step(lane, index, wide):
        if wide is F32:
            return fma(a[index], b[index], lane)
        # The product of widened operands is exact, so that the fma's one rounding is the sum's.
        return a[index].astype(F64) * b[index].astype(F64) + lane

    return _sixteen_lanes(len(a), np.broadcast_shapes(a.shape[1:], b.shape[1:]), 0, step, np.add)


def kept_axes(result, x, dims):
    dims = range(np.ndim(x)) if dims is None else [dim % np.ndim(x) for dim in dims]
    return np.expand_dims(result, tuple(dims))


def sum(x, dims=None):
    return sum_first(elements(x, dims))


def nansum(x, dims=None):
    return sum(np.where(np.isnan(x), F32(0), x), dims)


@rule
def mean(x, dims=None):
    x = elements(x, dims)
    return sum_first(x) / fl(len(x))


@rule
def var(x, dims=None, correction=1):
    x = elements(x, dims)
    d = x - sum_first(x) / fl(len(x))
    return sum_of_products(d, d) / fl(max(F64(len(x)) - F64(correction), F64(0)))


@rule
def std(x, dims=None, correction=1):
    return np.sqrt(var(x, dims, correction))


@rule
def norm(x, p=2, dims=None):
    x = elements(x, dims)
    if p == 1:
        return sum_first(np.abs(x))
    if p == np.inf:
        return amax(np.abs(x), [0])
    return np.sqrt(sum_of_products(x, x))


@rule
def normalize(x, dim, eps=1e-12):
    return x / kept_axes(maximum(norm(x, 2, [dim]), fl(eps)), x, [dim])


@rule
def prod(x, dims=None):
    x = elements(x, dims)
    return _sixteen_lanes(
        len(x), x.shape[1:], 1, lambda lane, i, wide: lane * x[i].astype(wide), np.multiply
    )


@rule
def cumsum(x, dim, join=np.add):
    x = np.moveaxis(np.array(x, F32), dim, 0)
    for index in range(1, len(x)):
        x[index] = join(x[index - 1], x[index])
    return np.moveaxis(x, 0, dim)


def cumprod(x, dim):
    return cumsum(x, dim, np.multiply)


@rule
def amax(x, dims=None):
    x = elements(x, dims)
    if len(x) == 0:
        raise ValueError("the maximum of nothing")
    result = x[0]
    for each in x[1:]:
        result = maximum(result, each)
    return result


@rule
def amin(x, dims=None):
    return -amax(-np.asarray(x, F32), dims)


@rule
def logsumexp(x, dims):
    x = elements(x, dims)
    if len(x) == 0:
        return np.full(x.shape[1:], -np.inf, F32)
    m = amax(x, [0])
    m = np.where(np.isinf(m), F32(0), m)
    return log(sum_first(exp(x - m))) + m


@rule
def softmax(x, dim):
    x = np.asarray(x, F32)
    if x.size == 0:
        return x
    e = exp(x - kept_axes(amax(x, [dim]), x, [dim]))
    return e / kept_axes(sum(e, [dim]), x, [dim])


@rule
def log_softmax(x, dim):
    x = np.asarray(x, F32)
    if x.size == 0:
        return x
    d = x - kept_axes(amax(x, [dim]), x, [dim])
    return d - kept_axes(log(sum(exp(d), [dim])), x, [dim])


def _scaled(normal, r, w, b):
    if w is None and b is None:
        return normal * r
    if b is None:
        return (normal * r) * w
    if w is None:
        return (normal * r) + b
    return fma(normal * r, w, b)


def _normalized(x, w, b, eps):
    """layer_norm along the first axis; w and b have its shape, broadcast."""
    d = x - sum_first(x) / fl(len(x))
    r = ONE / np.sqrt(sum_of_products(d, d) / fl(len(x)) + fl(eps))
    return _scaled(d, r, w, b)


@rule
def layer_norm(x, axes, w=None, b=None, eps=1e-5):
    """Over the last ``axes`` axes, whose shape w and b have."""
    x = np.asarray(x, F32)
    rows = elements(x, range(x.ndim - axes, x.ndim))
    ones = (1,) * (x.ndim - axes)
    w, b = (each if each is None else each.reshape(-1, *ones) for each in (w, b))
    result = _normalized(rows, w, b, eps)
    return np.moveaxis(result, 0, -1).reshape(x.shape)


@rule
def rms_norm(x, axes, w=None, eps=2.0**-23):
    x = np.asarray(x, F32)
    rows = elements(x, range(x.ndim - axes, x.ndim))
    r = ONE / np.sqrt(sum_of_products(rows, rows) / fl(len(rows)) + fl(eps))
    w = w if w is None else w.reshape(-1, *(1,) * (x.ndim - axes))
    return np.moveaxis(_scaled(rows, r, w, None), 0, -1).reshape(x.shape)


def _of_channels(values, x):
    return values if values is None else values.reshape(-1, *(1,) * (x.ndim - 2))


@rule
def batch_norm(x, mean, variance, w=None, b=None, eps=1e-5):
    mean, variance, w, b = (_of_channels(each, x) for each in (mean, variance, w, b))
    a = ONE / np.sqrt(variance + fl(eps))
    a = a if w is None else a * w
    return (x - mean) * a if b is None else fma(x - mean, a, b)


@rule
def group_norm(x, groups, w=None, b=None, eps=1e-5):
    """x [N, C, positions …]; instance_norm has as many groups as channels."""
    x = np.asarray(x, F32)
    rows = x.reshape(x.shape[0], groups, int(np.prod(x.shape[1:])) // groups)
    positions = int(np.prod(x.shape[2:]))

    def of_elements(values):  # [channel × position of a group, 1, group]
        if values is None:
            return None
        return np.repeat(values, positions).reshape(groups, -1).T[:, None, :]

    result = _normalized(elements(rows, [2]), of_elements(w), of_elements(b), eps)
    return np.moveaxis(result, 0, -1).reshape(x.shape)
