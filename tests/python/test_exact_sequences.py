"""Attention and recurrent cells, under exact/1 and by the reference."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, LAYOUTS, check, ordinary, special
from exact_reference import attention, cells
from exact_reference.arithmetic import F32

KINDS = {
    "ordinary": ordinary,
    "sprinkled": lambda *shape, **options: special(*shape, share=0.004, **options),
    "denormal": lambda *shape, **options: ordinary(*shape, scale=1e-21, **options),
}


def queries(dtype=torch.float32, heads=(4, 2), lengths=(5, 7), kind="ordinary"):
    make = KINDS[kind]
    return (
        make(2, heads[0], lengths[0], 8, seed=1, dtype=dtype),
        make(2, heads[1], lengths[1], 8, seed=2, dtype=dtype),
        make(2, heads[1], lengths[1], 6, seed=3, dtype=dtype),
    )


def attend(**options):
    return (
        lambda *each: F.scaled_dot_product_attention(
            *each[:3], *each[3:], enable_gqa=True, **options
        ),
        lambda *each: attention.attention(*each, **options),
    )


def masks(queries, keys):
    allowed = special(2, 1, queries, keys, seed=5) > 0
    allowed[0, 0, 0] = False
    added = special(2, 1, queries, keys, seed=6, share=0.5)
    added[1, 0, -1] = -math.inf
    least = torch.zeros(1, 1, queries, keys)
    least[..., : keys // 2] = torch.finfo(torch.float32).min
    left = torch.zeros(queries, keys)
    left[:, : keys // 2] = -math.inf
    return {"boolean": allowed, "special": added, "finfo.min": least, "left": left}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [(1, 1), (5, 7), (1, 300), (3, 600), (0, 3), (3, 0), (70, 20)])
def test_attention(lengths, kind):
    inputs = queries(lengths=lengths, kind=kind)
    check(*attend(), *inputs)
    check(*attend(scale=0.3), *inputs)
    check(*attend(is_causal=True), *inputs)


@pytest.mark.parametrize("mask", ["boolean", "special", "finfo.min", "left"])
@pytest.mark.parametrize("lengths", [(5, 7), (1, 300), (33, 65)])
def test_attention_under_masks(lengths, mask):
    check(*attend(), *queries(lengths=lengths), masks(*lengths)[mask])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_of_every_layout(layout, dtype):
    check(*attend(is_causal=True), *map(LAYOUTS[layout], queries(dtype)), dtype=dtype)
    swapped = (each.transpose(1, 2).contiguous().transpose(1, 2) for each in queries(dtype))
    check(*attend(), *swapped)


def test_attention_over_more_keys_than_a_short_sum():
    check(*attend(), *queries(heads=(1, 1), lengths=(1, 4097)))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent_layers(name, bias):
    torch.manual_seed(0)
    module = getattr(torch.nn, name)(5, 4, 2, bias=bias, bidirectional=True)
    weights = [[each.detach().numpy() for each in group] for group in module.all_weights]
    x, h, c = ordinary(6, 3, 5), ordinary(4, 3, 4, seed=1), ordinary(4, 3, 4, seed=2)
    if name == "LSTM":
        check(
            lambda x, h, c: (lambda y, state: (y, *state))(*module(x, (h, c))),
            lambda x, h, c: cells.lstm(x, h, c, weights, True),
            x,
            h,
            c,
        )
    else:
        cell = cells.gru_cell if name == "GRU" else cells.rnn_cell
        check(module, lambda x, h: cells.recurrent(cell, x, h, weights, True), x, h)


def test_layers_with_projections_and_packed_sequences():
    torch.manual_seed(0)
    module = torch.nn.LSTM(5, 4, proj_size=3)
    weights = [[each.detach().numpy() for each in group] for group in module.all_weights]
    h, c = ordinary(1, 2, 3, seed=1), ordinary(1, 2, 4, seed=2)
    check(
        lambda x, h, c: (lambda y, state: (y, *state))(*module(x, (h, c))),
        lambda x, h, c: cells.lstm(x, h, c, weights),
        ordinary(6, 2, 5),
        h,
        c,
    )
    gru = torch.nn.GRU(5, 4)
    weights = [[each.detach().numpy() for each in group] for group in gru.all_weights]
    sequences = [ordinary(length, 5, seed=length) for length in (6, 3, 1)]

    def packed(*sequences):
        return gru(torch.nn.utils.rnn.pack_sequence(sequences))[1][0]

    def alone(*sequences):
        zero = np.zeros((1, 1, 4), F32)
        return np.concatenate(
            [cells.recurrent(cells.gru_cell, x[:, None], zero, weights)[1][0] for x in sequences]
        )

    check(packed, alone, *sequences)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_of_special_values(name, dtype):
    torch.manual_seed(0)
    module = getattr(torch.nn, name)(5, 4).to(dtype)
    operands = [special(9, size, share=0.1, seed=size, dtype=dtype) for size in (5, 4, 4)]
    weights = [each.detach() for each in module.parameters()]
    if name == "LSTMCell":
        check(lambda x, h, c, *_: module(x, (h, c)), cells.lstm_cell, *operands, *weights)
    else:
        cell = cells.gru_cell if name == "GRUCell" else cells.rnn_cell
        check(lambda x, h, *_: module(x, h), cell, *operands[:2], *weights)
