"""What the tests of reproduction share: a recorded function, and ways to break its result."""

from __future__ import annotations

import math

import torch

X = torch.linspace(-1, 1, 40).reshape(5, 8)


def recorded(notary, net, x=X):
    """A recorded function of the model, the same function unrecorded, and the record."""

    def score(x, scale=2.0):
        with torch.no_grad():
            return {"logits": net(x) * scale}

    decorated = notary.record(score)
    decorated(x)
    return decorated, score, notary.last


def broken(function, change):
    """The recorded function with its result changed."""

    def call(x, scale=2.0):
        return {"logits": change(function(x, scale)["logits"])}

    return call


def nudge(rows):
    def change(logits):
        logits = logits.clone()
        logits[rows, 1] = torch.nextafter(logits[rows, 1], torch.tensor(math.inf))
        return logits

    return change
