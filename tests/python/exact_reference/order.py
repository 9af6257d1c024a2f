"""Section 7, order: places of extremes, sorting. All return (values, indices)."""

import functools

import numpy as np


def _compare(x, y):
    """Of two elements: a NaN is greater than every number, zeros are equal."""
    if x != x or y != y:
        return int(x != x) - int(y != y)
    return (x > y) - (x < y)


def _along(x, dim, choose):
    """Indices chosen of every row along an axis, and the elements there with all their bits."""
    rows = np.moveaxis(np.asarray(x), dim, -1)
    chosen = [choose(row) for row in rows.reshape(-1, rows.shape[-1]).tolist()]
    count = len(chosen[0]) if chosen else len(choose([0] * rows.shape[-1]))
    indices = np.array(chosen, np.int64).reshape(*rows.shape[:-1], count)
    return (
        np.moveaxis(np.take_along_axis(rows, indices, -1), -1, dim),
        np.moveaxis(indices, -1, dim),
    )


def sort(x, dim=-1, descending=False):
    sign = -1 if descending else 1

    def order(row):  # Python's sort is stable
        compared = functools.cmp_to_key(lambda a, b: sign * _compare(row[a], row[b]))
        return sorted(range(len(row)), key=compared)

    return _along(x, dim, order)


def topk(x, k, dim=-1, largest=True):
    values, indices = sort(x, dim, descending=largest)
    first = [slice(None)] * values.ndim
    first[dim] = slice(k)
    return values[tuple(first)], indices[tuple(first)]


def kthvalue(x, k, dim=-1):
    """The axis is dropped, as by median and nanmedian."""
    values, indices = sort(x, dim)
    return values.take(k - 1, dim), indices.take(k - 1, dim)


def median(x, dim, skips_nans=False):
    def place(row):
        nans = [index for index, value in enumerate(row) if value != value]
        compared = functools.cmp_to_key(lambda a, b: _compare(row[a], row[b]))
        ordered = sorted(range(len(row)), key=compared)
        if nans and (len(nans) == len(row) or not skips_nans):
            return nans[:1]
        return [ordered[(len(row) - len(nans) - 1) // 2]]

    values, indices = _along(x, dim, place)
    return values.squeeze(dim), indices.squeeze(dim)


def nanmedian(x, dim):
    return median(x, dim, skips_nans=True)


def greatest(x, dim):
    """max and argmax; the axis is dropped."""
    return _extreme(x, dim, 1)


def least(x, dim):
    return _extreme(x, dim, -1)


def _extreme(x, dim, sign):
    def place(row):
        for index, value in enumerate(row):
            if value != value:
                return [index]
        best = 0
        for index, value in enumerate(row):
            if sign * _compare(value, row[best]) > 0:
                best = index
        return [best]

    if np.shape(x)[dim] == 0:
        raise ValueError("the extreme of nothing")
    values, indices = _along(x, dim, place)
    return values.squeeze(dim), indices.squeeze(dim)
