"""Section 7: losses."""

import numpy as np

from . import sums
from .arithmetic import F32, fl, rule
from .elementwise import log_sigmoid

ONE = F32(1)


def reduced(elements, reduction):
    if reduction == "none":
        return elements
    return sums.sum(elements) if reduction == "sum" else sums.mean(elements)


@rule
def mse_loss(x, y, reduction="mean"):
    d = x - y
    return reduced(d * d, reduction)


@rule
def binary_cross_entropy_with_logits(x, y, w=None, p=None, reduction="mean"):
    log = log_sigmoid(x)
    if p is not None:
        log = (((p - ONE) * y) + ONE) * log
    loss = ((ONE - y) * x) - log
    return reduced(loss if w is None else loss * w, reduction)


@rule
def nll_loss(x, t, w=None, reduction="mean", ignored=-100):
    """x [classes] or [batch, classes, …]."""
    if np.ndim(x) == 1:
        x, t = x[None], np.reshape(t, 1)
        return nll_loss(x, t, w, reduction, ignored)[0 if reduction == "none" else ()]
    left = t != ignored
    classes = np.where(left, t, 0)
    chosen = np.take_along_axis(x, classes[:, None], 1)[:, 0] if t.size else np.zeros(t.shape, F32)
    loss = -chosen if w is None else -chosen * w[classes]
    loss = np.where(left, loss, F32(0))
    if reduction != "mean":
        return reduced(loss, reduction)
    weights = fl(left.sum()) if w is None else sums.sum(np.where(left, w[classes], F32(0)))
    return sums.sum(loss) / weights
