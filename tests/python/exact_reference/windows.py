"""Section 10: pooling, resampling, bags of rows.

Positions are of any number of axes after the first two.
"""

import itertools
import math

import numpy as np

from .arithmetic import F32, fl, maximum, rule
from .order import greatest
from .sums import amax, sum_first, sum_of_products


def pooled_size(size, kernel, stride, padding, dilation=1, ceil_mode=False):
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-reach // stride) if ceil_mode else reach // stride) + 1
    # A last window that would begin in the padding at the far end is left out.
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def _windows(sizes, kernel, stride, padding, dilation, ceil_mode):
    """For every axis, for every output: the positions, those of the padding among them."""
    return [
        [
            [i * s - p + d * each for each in range(k)]
            for i in range(pooled_size(size, k, s, p, d, ceil_mode))
        ]
        for size, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]


def _inside(positions, size):
    return [each for each in positions if 0 <= each < size]


def _pool(x, windows, compute):
    """compute(elements [n, N, C], their places in a plane, the window) for every output."""
    sizes = x.shape[2:]
    counts = [len(each) for each in windows]
    results = []
    for output in itertools.product(*map(range, counts)):
        window = [axis[i] for axis, i in zip(windows, output, strict=True)]
        inside = itertools.product(
            *(_inside(each, size) for each, size in zip(window, sizes, strict=True))
        )
        places = [int(np.ravel_multi_index(place, sizes)) for place in inside]
        planes = x.reshape(*x.shape[:2], math.prod(sizes))
        results.append(compute(np.moveaxis(planes[..., places], -1, 0), places, window))

    def shaped(values):
        return np.moveaxis(np.array(values), 0, -1).reshape(*x.shape[:2], *counts)

    if results and isinstance(results[0], tuple):
        return tuple(shaped(values) for values in zip(*results, strict=True))
    return shaped(results)


def _maximum(elements, places, window):
    return amax(elements, [0]), np.array(places)[greatest(elements, 0)[1]]


@rule
def max_pool(x, kernel, stride, padding, dilation, ceil_mode=False):
    """(values, indices)"""
    windows = _windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    return _pool(x, windows, _maximum)


@rule
def avg_pool(x, kernel, stride, padding, ceil_mode=False, include_pad=True, divisor=None):
    sizes = x.shape[2:]
    windows = _windows(sizes, kernel, stride, padding, [1] * len(sizes), ceil_mode)

    def average(elements, _, window):
        counted = len(elements)
        if include_pad:  # what ceil_mode adds beyond the padding is not counted
            counted = math.prod(
                len([each for each in axis if each < size + p])
                for axis, size, p in zip(window, sizes, padding, strict=True)
            )
        return sum_first(elements) / fl(counted if divisor is None else divisor)

    return _pool(x, windows, average)


def _adaptive_windows(sizes, outputs):
    return [
        [list(range(i * size // out, -(-(i + 1) * size // out))) for i in range(out)]
        for size, out in zip(sizes, outputs, strict=True)
    ]


@rule
def adaptive_avg_pool(x, outputs):
    windows = _adaptive_windows(x.shape[2:], outputs)
    return _pool(x, windows, lambda elements, *_: sum_first(elements) / fl(len(elements)))


@rule
def adaptive_max_pool(x, outputs):
    return _pool(x, _adaptive_windows(x.shape[2:], outputs), _maximum)


def _step(size, out, scale_factor):
    return fl(1 / scale_factor) if scale_factor is not None else fl(size) / fl(out)


@rule
def nearest(x, outputs, scale_factors=None, exact=False):
    for axis, out in enumerate(outputs):
        size = x.shape[2 + axis]
        step = _step(size, out, scale_factors and scale_factors[axis])
        offset = F32(0.5) if exact else F32(0)
        places = [min(int(np.floor((F32(i) + offset) * step)), size - 1) for i in range(out)]
        x = np.take(x, places, 2 + axis)
    return x


@rule
def bilinear(x, outputs, scale_factors=None, align_corners=False):
    """linear, too: the last axis first."""
    for axis in reversed(range(len(outputs))):
        factor = scale_factors and scale_factors[axis]
        x = _linear_along(x, 2 + axis, outputs[axis], factor, align_corners)
    return x


def _linear_along(x, axis, out, scale_factor, align_corners):
    size = x.shape[axis]
    rows = []
    for i in range(out):
        if align_corners:
            step = fl(size - 1) / fl(out - 1) if out > 1 else F32(0)
            p = F32(i) * step
        else:
            step = _step(size, out, scale_factor)
            p = maximum(((F32(i) + F32(0.5)) * step) - F32(0.5), F32(0))
        i0 = min(int(np.floor(p)), size - 1)
        weight = p - F32(i0)
        first, second = (np.take(x, each, axis) for each in (i0, min(i0 + 1, size - 1)))
        rows.append(first + (weight * (second - first)))
    return np.stack(rows, axis).astype(F32)


@rule
def embedding_bag(weight, bags, mode="sum", per_sample=None, padding=None):
    """bags: lists of indices; per_sample: lists of as many numbers."""
    result = []
    for number, bag in enumerate(bags):
        kept = [place for place, index in enumerate(bag) if index != padding]
        rows = weight[[bag[place] for place in kept]]
        if not kept:
            result.append(np.zeros(weight.shape[1], F32))
        elif mode == "max":
            result.append(amax(rows, [0]))
        elif per_sample is not None:
            factors = np.array([per_sample[number][place] for place in kept], F32)
            result.append(sum_of_products(factors[:, None], rows))
        else:
            total = sum_first(rows)
            result.append(total / fl(len(rows)) if mode == "mean" else total)
    return np.array(result, F32).reshape(len(bags), weight.shape[1])
