"""Section 7: sources that indices bring to elements."""

import numpy as np

from .arithmetic import F32, F64, fl, maximum, minimum, rule
from .sums import MANY

JOINS = {
    "sum": np.add,
    "mean": np.add,
    "prod": np.multiply,
    "amax": maximum,
    "amin": minimum,
}


@rule
def scatter(x, dim, index, source, reduction="sum", include_self=True):
    x, index, source = (np.atleast_1d(each) for each in (x, index, source))
    result = x.astype(F32)
    sources = {}
    for place in np.ndindex(index.shape):  # ascending along every axis
        to = list(place)
        to[dim] = int(index[place])
        sources.setdefault(tuple(to), []).append(source[place])
    for place, values in sources.items():
        result[place] = _joined(x[place], values, reduction, include_self)
    return result


def _joined(own, values, reduction, include_self):
    join = JOINS[reduction]
    wide = F64 if len(values) > MANY and join in (np.add, np.multiply) else F32
    values = [own, *values] if include_self else values
    c = wide(values[0])
    for value in values[1:]:
        c = wide(join(c, wide(value)))
    return F32(c) / fl(len(values)) if reduction == "mean" else F32(c)


@rule
def index_add(x, dim, index, source, alpha=1):
    places = np.moveaxis(np.broadcast_to(index, np.moveaxis(source, dim, -1).shape), -1, dim)
    return scatter(x, dim, places, fl(alpha) * source)


@rule
def index_put(x, indices, values):
    """With accumulation."""
    places = np.arange(x.size).reshape(x.shape)[indices]
    values = np.broadcast_to(values, places.shape)
    return scatter(x.ravel(), 0, places.ravel(), values.ravel()).reshape(x.shape)
