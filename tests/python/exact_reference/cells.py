"""Section 9: recurrent cells, and layers of them in torch's order of weights."""

import numpy as np

from .arithmetic import F32, rule
from .elementwise import relu, sigmoid
from .functions import tanh
from .products import linear


def _gates(x, h, w_ih, w_hh, b_ih=None, b_hh=None):
    return linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)


@rule
def lstm_cell(x, h, c, *weights):
    gi, gh = _gates(x, h, *weights)
    i, f, g, o = np.split(gi + gh, 4, -1)
    c = (sigmoid(f) * c) + (sigmoid(i) * tanh(g))
    return sigmoid(o) * tanh(c), c


@rule
def gru_cell(x, h, *weights):
    gi, gh = _gates(x, h, *weights)
    (i_r, i_z, i_n), (h_r, h_z, h_n) = np.split(gi, 3, -1), np.split(gh, 3, -1)
    r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
    n = tanh(i_n + (r * h_n))
    return ((h - n) * z) + n


@rule
def rnn_cell(x, h, *weights, activation=tanh):
    gi, gh = _gates(x, h, *weights)
    return activation(gi + gh)


@rule
def rnn_relu_cell(x, h, *weights):
    return rnn_cell(x, h, *weights, activation=relu)


def lstm_layer(x, h, c, weights, projection=None, backwards=False):
    """x [steps, N, in]; returns the output of every step, and the last h and c."""
    outputs = [None] * len(x)
    for step in reversed(range(len(x))) if backwards else range(len(x)):
        h, c = lstm_cell(x[step], h, c, *weights)
        h = h if projection is None else linear(h, projection)
        outputs[step] = h
    return np.stack(outputs), h, c


def layer(cell, x, h, weights, backwards=False):
    """A layer of gru_cell or rnn_cell in one direction."""
    outputs = [None] * len(x)
    for step in reversed(range(len(x))) if backwards else range(len(x)):
        h = outputs[step] = cell(x[step], h, *weights)
    return np.stack(outputs), h


def lstm(x, h, c, weights, bidirectional=False):
    """weights: for every layer and direction w_ih, w_hh, perhaps b_ih and b_hh, perhaps w_hr."""
    directions = 2 if bidirectional else 1
    hs, cs = [], []
    for first in range(0, len(weights), directions):
        outputs = []
        for place in range(first, first + directions):
            own = list(weights[place])
            projection = own.pop() if len(own) % 2 else None
            y, h_n, c_n = lstm_layer(x, h[place], c[place], own, projection, place > first)
            outputs.append(y)
            hs.append(h_n)
            cs.append(c_n)
        x = np.concatenate(outputs, -1)
    return x, np.stack(hs), np.stack(cs)


def recurrent(cell, x, h, weights, bidirectional=False):
    """gru and rnn of several layers and directions."""
    directions = 2 if bidirectional else 1
    hs = []
    for first in range(0, len(weights), directions):
        outputs = []
        for place in range(first, first + directions):
            y, h_n = layer(cell, x, h[place], weights[place], place > first)
            outputs.append(y)
            hs.append(h_n)
        x = np.concatenate(outputs, -1)
    return x.astype(F32), np.stack(hs)
