"""Sections 3 and 4: dot products, products of matrices, convolutions."""

import numpy as np

from .arithmetic import F32, fl, fma, rule

BLOCK = 256


@rule
def dot(a, b):
    """Over the last axis of both; the axes before it are broadcast."""
    a, b = np.asarray(a, F32), np.asarray(b, F32)
    length = a.shape[-1]
    outputs = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    total = np.zeros(outputs, F32)
    for begin in range(0, length, BLOCK):
        block = np.zeros(outputs, F32)
        for k in range(begin, min(begin + BLOCK, length)):
            block = fma(a[..., k], b[..., k], block)
        total = block if begin == 0 else total + block
    return total


def matmul(a, b):
    """a [..., M, K] by b [..., K, N]."""
    a, b = np.asarray(a, F32), np.asarray(b, F32)
    return dot(a[..., :, None, :], np.swapaxes(b, -1, -2)[..., None, :, :])


@rule
def linear(x, weight, bias=None):
    x = np.asarray(x, F32)
    result = dot(x[..., None, :], weight)
    return result if bias is None else result + bias


@rule
def addmm(c, a, b, beta=1, alpha=1):
    """Also baddbmm and, with a b of one column, addmv."""
    result, alpha, beta = matmul(a, b), fl(alpha), fl(beta)
    if alpha != 1:
        result = result * alpha
    if beta == 0:
        return result
    c = np.asarray(c, F32)
    return result + (c if beta == 1 else c * beta)


def int_mm(a, b):
    if a.shape[-1] >= 131_072:
        raise ValueError("K is 131,072 or more")
    return a.astype(np.int32) @ b.astype(np.int32)


@rule
def conv2d(
    x, weight, bias=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1
):
    """x [N, C, H, W], weight [O, C / groups, R, S]; padding (before, after) of rows and columns."""
    x, weight = _padded(np.asarray(x, F32), padding), np.asarray(weight, F32)
    outputs, channels, rows, columns = weight.shape
    high, wide = (
        (x.shape[2 + axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    )
    operands = [
        x[:, :, r * dilation[0] :, s * dilation[1] :][
            :, :, : (high - 1) * stride[0] + 1 : stride[0], : (wide - 1) * stride[1] + 1 : stride[1]
        ]
        for r in range(rows)
        for s in range(columns)
    ]
    # [N, groups, 1, high, wide, channel × row × column]
    operands = np.stack(operands, 2).reshape(
        x.shape[0], groups, channels * rows * columns, high, wide
    )
    operands = np.moveaxis(operands, 2, -1)[:, :, None]
    weights = weight.reshape(1, groups, outputs // groups, 1, 1, channels * rows * columns)
    result = dot(operands, weights).reshape(x.shape[0], outputs, high, wide)
    return result if bias is None else result + np.asarray(bias, F32)[:, None, None]


@rule
def conv_transpose2d(
    x,
    weight,
    bias=None,
    stride=(1, 1),
    padding=(0, 0),
    output_padding=(0, 0),
    groups=1,
    dilation=(1, 1),
):
    """x [N, C, H, W], weight [C, O / groups, R, S]."""
    x, weight = np.asarray(x, F32), np.asarray(weight, F32)
    number, channels, high, wide = x.shape
    spread = np.zeros(
        (number, channels, (high - 1) * stride[0] + 1, (wide - 1) * stride[1] + 1), F32
    )
    spread[:, :, :: stride[0], :: stride[1]] = x
    around = [dilation[axis] * (weight.shape[2 + axis] - 1) - padding[axis] for axis in (0, 1)]
    _, outputs, rows, columns = weight.shape
    kernel = weight[:, :, ::-1, ::-1].reshape(groups, channels // groups, outputs, rows, columns)
    kernel = kernel.swapaxes(1, 2).reshape(groups * outputs, channels // groups, rows, columns)
    ends = tuple((around[axis], around[axis] + output_padding[axis]) for axis in (0, 1))
    return conv2d(spread, kernel, bias, padding=ends, dilation=dilation, groups=groups)


def conv1d(x, weight, bias=None, stride=1, padding=(0, 0), dilation=1, groups=1):
    result = conv2d(
        np.asarray(x)[:, :, None],
        np.asarray(weight)[:, :, None],
        bias,
        (1, stride),
        ((0, 0), padding),
        (1, dilation),
        groups,
    )
    return result[:, :, 0]


def conv_transpose1d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    result = conv_transpose2d(
        np.asarray(x)[:, :, None],
        np.asarray(weight)[:, :, None],
        bias,
        (1, stride),
        (0, padding),
        (0, output_padding),
        groups,
        (1, dilation),
    )
    return result[:, :, 0]


def _padded(x, padding):
    """Zeros around the last two axes; negative numbers crop."""
    (top, bottom), (left, right) = padding
    x = np.pad(x, [(0, 0), (0, 0)] + [(max(a, 0), max(b, 0)) for a, b in padding])
    return x[
        :,
        :,
        max(-top, 0) : x.shape[2] - max(-bottom, 0),
        max(-left, 0) : x.shape[3] - max(-right, 0),
    ]
