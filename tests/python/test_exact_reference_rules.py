"""The rules of exact/1's reference against torch and binary64 within tolerance."""

import gmpy2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exact_reference import (
    attention,
    cells,
    draws,
    elementwise,
    functions,
    order,
    products,
    sums,
    windows,
)
from exact_reference.arithmetic import F32
from exact_values import INF, NAN, bits, close, random


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 600])
def test_dot_products_are_blocks_of_256(length):
    a, b = random(3, 1, length, seed=14), random(4, length, seed=15)
    ours = products.dot(a, b)
    close(ours, a.astype(float)[:, 0] @ b.astype(float).T, 1e-5)
    for row in range(3):
        for column in range(4):
            assert float(ours[row, column]) == _blocks_of_256(a[row, 0], b[column])


def _blocks_of_256(a, b):
    total = 0.0
    for begin in range(0, len(a), 256):
        block = gmpy2.mpfr(0)
        with gmpy2.context(**functions.BINARY32):
            for x, y in zip(a[begin : begin + 256], b[begin : begin + 256], strict=True):
                block = gmpy2.fma(gmpy2.mpfr(float(x)), gmpy2.mpfr(float(y)), block)
        total = float(block) if begin == 0 else float(F32(total) + F32(block))
    return total


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((2, 4, 7, 9), (6, 4, 3, 2), {"stride": (2, 1), "padding": (1, 2)}),
        ((1, 4, 8, 8), (6, 2, 3, 3), {"groups": 2, "dilation": (2, 3), "padding": (2, 3)}),
        ((2, 3, 5, 5), (3, 1, 1, 1), {"groups": 3}),
    ],
)
def test_convolutions_agree_with_torch(shape, weight, options):
    x, w, b = random(*shape, seed=16), random(*weight, seed=17), random(weight[0], seed=18)
    theirs = F.conv2d(*map(torch.from_numpy, (x, w, b)), **options)
    padding = [(each, each) for each in options.pop("padding", (0, 0))]
    close(products.conv2d(x, w, b, padding=padding, **options), theirs, 1e-5)


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        (
            (2, 4, 5, 6),
            (4, 3, 3, 2),
            {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)},
        ),
        ((1, 4, 5, 5), (4, 2, 3, 3), {"groups": 2, "dilation": (2, 1), "padding": (3, 3)}),
        ((1, 2, 3, 3), (2, 2, 1, 1), {"stride": (2, 2)}),
    ],
)
def test_transposed_convolutions_agree_with_torch(shape, weight, options):
    x, w = random(*shape, seed=19), random(*weight, seed=20)
    b = random(weight[1] * options.get("groups", 1), seed=21)
    theirs = F.conv_transpose2d(*map(torch.from_numpy, (x, w, b)), **options)
    close(products.conv_transpose2d(x, w, b, **options), theirs, 1e-5)


ELEMENTWISE = {
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "log_sigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "mish": F.mish,
    "gelu": F.gelu,
    "hardsigmoid": F.hardsigmoid,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": F.hardswish,
    "softsign": F.softsign,
    "frac": torch.frac,
    "sign": torch.sign,
    "elu": F.elu,
    "round_to_even": torch.round,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_element_by_element_operators_agree_with_binary64(name):
    x = random(400, seed=22, scale=4)
    close(getattr(elementwise, name)(x), ELEMENTWISE[name](torch.from_numpy(x).double()))


@pytest.mark.parametrize("name", ["trunc_divide", "floor_divide", "fmod", "remainder"])
def test_quotients_and_remainders_agree_with_binary64(name):
    theirs = {
        "trunc_divide": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
        "floor_divide": torch.floor_divide,
        "fmod": torch.fmod,
        "remainder": torch.remainder,
    }[name]
    x, y = random(400, seed=40, scale=9), random(400, seed=41)
    x[::40], y[::16], y[1::50] = INF, -INF, 0
    x[3::37] = 0
    pair = (torch.from_numpy(each).double() for each in (x, y))
    close(getattr(elementwise, name)(x, y), theirs(*pair))


def test_limits_are_what_the_expressions_give():
    for name in ("gelu", "silu", "gelu_tanh", "mish"):
        assert bits(getattr(elementwise, name)(F32([-INF, INF]))) == bits([NAN, INF]), name
    assert bits(elementwise.relu(F32([-0.0, NAN, -1]))) == bits([0.0, NAN, 0.0])
    assert bits(elementwise.leaky_relu(F32([NAN, -0.0]), 0.01)) == bits([NAN, -0.0])


@pytest.mark.parametrize("count", [0, 1, 16, 17, 100, 4096, 4097])
def test_sums_agree_with_binary64(count):
    x = random(count, 2, seed=23)
    close(sums.sum(x, [0]), x.astype(float).sum(0), 1e-5)
    close(sums.sum_of_products(x, x), (x.astype(float) ** 2).sum(0), 1e-5)
    if count:
        close(sums.mean(x, [0]), x.astype(float).mean(0), 1e-5)
        close(sums.prod(1 + x / 1000, [0]), np.prod(1 + x.astype(float) / 1000, 0), 1e-5)
    if count > 1:
        close(sums.var(x, [0]), torch.from_numpy(x).double().var(0), 1e-5)


def test_long_sums_are_rounded_once():
    x = np.zeros(4097, F32)
    x[0], x[1], x[16], x[32] = 1, 2.0**-24, 2.0**-40, -1
    assert sums.sum(x) == F32(2.0**-24 + 2.0**-40)
    assert sums.sum(x[:4096]) == F32(2.0**-24)


def test_sums_begin_at_plus_zero_in_sixteen_lanes():
    assert bits(sums.sum(F32([-0.0]))) == bits(0.0)
    x = np.zeros(32, F32)
    x[0], x[16], x[8] = 2.0**24, 1, 1  # the lane loses its 1, then the join its own
    assert sums.sum(x) == F32(2.0**24)
    x[16], x[24] = 0, 1  # lane 8 has 2
    assert sums.sum(x) == F32(2.0**24 + 2)


def test_rows_agree_with_torch():
    x, w, b = random(3, 5, 7, seed=24), random(7, seed=25), random(7, seed=26)
    t, tw, tb = (torch.from_numpy(each).double() for each in (x, w, b))
    close(sums.softmax(x, -1), t.softmax(-1))
    close(sums.softmax(x, 1), t.softmax(1))
    close(sums.log_softmax(x, 0), t.log_softmax(0))
    close(sums.logsumexp(x, [0, 2]), t.logsumexp([0, 2]))
    close(sums.layer_norm(x, 1, w, b), F.layer_norm(t, [7], tw, tb))
    close(sums.layer_norm(x, 2), F.layer_norm(t, [5, 7]))
    close(sums.rms_norm(x, 1, w, 1e-6), F.rms_norm(t, [7], tw, 1e-6))
    close(sums.group_norm(x[:, :4], 2, w[:4], b[:4]), F.group_norm(t[:, :4], 2, tw[:4], tb[:4]))
    close(sums.group_norm(x, 5), F.instance_norm(t))
    mean, variance = x.mean((0, 2)), x.var((0, 2))
    close(
        sums.batch_norm(x, mean, variance, w[:5], b[:5]),
        F.batch_norm(
            t, torch.from_numpy(mean).double(), torch.from_numpy(variance).double(), tw[:5], tb[:5]
        ),
    )
    close(sums.cumsum(x, 1), t.cumsum(1))
    close(sums.norm(x, 2, [1, 2]), t.norm(dim=(1, 2)))
    close(sums.normalize(x, 1), F.normalize(t, dim=1))
    assert bits(sums.softmax(F32([[-INF, -INF], [0, INF]]), 1)) == bits([[NAN] * 2] * 2)


def test_order_puts_nans_last_and_keeps_equal_elements_in_place():
    x = F32([1, NAN, -0.0, 0.0, 1, -INF, NAN])
    assert order.sort(x)[1].tolist() == [5, 2, 3, 0, 4, 1, 6]
    assert order.sort(x, descending=True)[1].tolist() == [1, 6, 0, 4, 2, 3, 5]
    assert order.topk(x, 3, largest=False)[1].tolist() == [5, 2, 3]
    assert order.greatest(x, 0)[1] == order.least(x, 0)[1] == 1
    assert order.greatest(F32([-0.0, 0.0]), 0)[1] == 0
    y = random(4, 6, seed=27)
    assert np.array_equal(order.sort(y, 0)[0], np.sort(y, 0))
    assert np.array_equal(order.greatest(y, 1)[1], y.argmax(1))


def test_attention_agrees_with_torch_and_pads_without_a_trace():
    q, k, v = random(2, 4, 5, 8, seed=28), random(2, 2, 5, 8, seed=29), random(2, 2, 5, 3, seed=30)
    mask = random(2, 1, 5, 5, seed=31)
    mask[0, 0, 1, 2] = -INF
    t = [torch.from_numpy(each).double() for each in (q, k, v, mask)]
    theirs = F.scaled_dot_product_attention(*t, enable_gqa=True)
    close(attention.attention(q, k, v, mask), theirs, 1e-5)
    causal = attention.attention(q, k, v, is_causal=True)
    close(causal, F.scaled_dot_product_attention(*t[:3], is_causal=True, enable_gqa=True), 1e-5)
    padded = (
        np.concatenate([random(2, 2, 3, 8, seed=32), k], 2),
        np.concatenate([random(2, 2, 3, 3, seed=33), v], 2),
    )
    seen = np.concatenate([np.zeros((5, 3), bool), np.tri(5, dtype=bool)], 1)
    assert bits(attention.attention(q, *padded, seen)) == bits(causal)
    nothing = attention.attention(q, k, v, np.zeros((5, 5), bool))
    assert bits(nothing) == bits(np.zeros_like(nothing))


def test_values_of_keys_without_weight_are_left_out():
    q, k, v = (np.full((1, 2, 1), each, F32) for each in (1, 0, 3))
    v[0, 1] = INF
    weights = F32([[0, -200], [0, -100]])  # exp is 0, and a denormal
    ours = attention.attention(q, k, v, weights)
    assert bits(ours) == bits([[[3], [INF]]])
    weights[:, 1] = -INF
    assert bits(attention.attention(q, k, v, weights)) == bits([[[3], [3]]])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_agree_with_torch(kind):
    torch.manual_seed(0)
    options = {"proj_size": 3} if kind == "LSTM" else {}
    module = getattr(torch.nn, kind)(5, 4, num_layers=2, bidirectional=True, **options)
    weights = [[each.detach().numpy() for each in group] for group in module.all_weights]
    x, h, c = random(6, 2, 5, seed=34), random(4, 2, 4, seed=35), random(4, 2, 4, seed=36)
    h = h[..., :3] if options else h
    state = (torch.from_numpy(h), torch.from_numpy(c)) if kind == "LSTM" else torch.from_numpy(h)
    with torch.no_grad():
        y, last = module(torch.from_numpy(x), state)
    if kind == "LSTM":
        ours = cells.lstm(x, h, c, weights, True)
        theirs = (y, *last)
    else:
        cell = cells.gru_cell if kind == "GRU" else cells.rnn_cell
        ours, theirs = cells.recurrent(cell, x, h, weights, True), (y, last)
    for our, their in zip(ours, theirs, strict=True):
        close(our, their, 1e-5)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("include_pad", [False, True])
def test_pooling_agrees_with_torch(ceil_mode, include_pad):
    x = random(2, 3, 8, 7, seed=37)
    t = torch.from_numpy(x)
    values, places = windows.max_pool(x, (3, 2), (2, 3), (1, 1), (2, 1), ceil_mode)
    theirs = F.max_pool2d(t, (3, 2), (2, 3), (1, 1), (2, 1), ceil_mode, return_indices=True)
    assert np.array_equal(values, theirs[0]) and np.array_equal(places, theirs[1])
    ours = windows.avg_pool(x, (3, 2), (2, 3), (1, 1), ceil_mode, include_pad)
    close(ours, F.avg_pool2d(t, (3, 2), (2, 3), (1, 1), ceil_mode, include_pad))
    close(windows.adaptive_avg_pool(x, (3, 10)), F.adaptive_avg_pool2d(t, (3, 10)))
    values, places = windows.adaptive_max_pool(x, (3, 5))
    theirs = F.adaptive_max_pool2d(t, (3, 5), return_indices=True)
    assert np.array_equal(values, theirs[0]) and np.array_equal(places, theirs[1])


def test_resampling_agrees_with_torch():
    x = random(1, 2, 5, 7, seed=38)
    t = torch.from_numpy(x)
    for outputs in [(3, 11), (10, 1), (5, 7)]:
        for mode, exact in [("nearest", False), ("nearest-exact", True)]:
            ours = windows.nearest(x, outputs, exact=exact)
            assert np.array_equal(ours, F.interpolate(t, outputs, mode=mode))
        for corners in (False, True):
            ours = windows.bilinear(x, outputs, align_corners=corners)
            theirs = F.interpolate(t, outputs, mode="bilinear", align_corners=corners)
            close(ours, theirs, 1e-5)
    ours = windows.bilinear(x, (8, 11), (1.7, 1.7))
    close(ours, F.interpolate(t, scale_factor=1.7, mode="bilinear"), 1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_agree_with_torch(mode):
    weight, indices, offsets = random(9, 4, seed=39), [3, 1, 3, 8, 0, 2, 2], [0, 3, 3]
    bags = [indices[:3], [], indices[3:]]
    theirs = F.embedding_bag(
        torch.tensor(indices),
        torch.from_numpy(weight),
        torch.tensor(offsets),
        mode=mode,
        padding_idx=8,
    )
    close(windows.embedding_bag(weight, bags, mode, padding=8), theirs)


def test_philox_gives_the_words_of_its_authors():
    # Random123's known answers for philox4x32-10.
    assert draws.philox((0,) * 4, (0,) * 2) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert draws.philox(
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    ) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_tokens_are_drawn_by_the_inverse_of_their_sums():
    assert [draws.token([0, 0.25, 0, 0.75], u) for u in (0.0, 0.24, 0.25, 0.99)] == [1, 1, 3, 3]
    assert 0 < draws.uniform(2**63 + 1, 5, 2**40) < 1
