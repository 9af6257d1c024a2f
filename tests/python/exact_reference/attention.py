"""Section 8: attention, one query of one head at a time."""

import numpy as np

from .arithmetic import F32, fl, fma, maximum, rule
from .functions import exp
from .products import dot
from .sums import sum_first


@rule
def attention(q, k, v, mask=None, is_causal=False, scale=None):
    """q [..., H, L, E], k [..., G, S, E], v [..., G, S, Ev], mask broadcast to [..., H, L, S]."""
    q, k, v = (np.asarray(each, F32) for each in (q, k, v))
    *batch, heads, queries, width = q.shape
    keys = k.shape[-2]
    # Query head h reads key and value head h ÷ (query heads ÷ key heads).
    k, v = (np.repeat(each, heads // each.shape[-3], -3) for each in (k, v))
    scale = fl(1 / np.sqrt(np.float64(width))) if scale is None else fl(scale)
    s = dot(q[..., :, None, :], k[..., None, :, :]) * scale
    present = np.ones(s.shape, bool)
    if is_causal:
        present &= np.arange(keys) <= np.arange(queries)[:, None]
    if mask is not None and np.asarray(mask).dtype == bool:
        present &= mask
    elif mask is not None:
        present &= mask != -np.inf
        s = s + np.asarray(mask, F32)
    result = np.zeros((*batch, heads, queries, v.shape[-1]), F32)
    for place in np.ndindex(*batch, heads, queries):
        seen = present[place]
        result[place] = _one_query(s[place][seen], v[place[:-1]][seen])
    return result


def _one_query(s, v):
    o = np.zeros(v.shape[1:], F32)
    if len(s) == 0:
        return o
    m = s[0]
    for each in s[1:]:
        m = maximum(m, each)
    w = exp(s - m)
    for weight, row in zip(w, v, strict=True):
        if weight != 0:
            o = fma(weight, row, o)
    return o / sum_first(w)
