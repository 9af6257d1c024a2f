"""Operands for the tests of exact/1, and comparing what comes of them."""

import math

import numpy as np
import torch

from exact_reference import arithmetic
from exact_reference.arithmetic import F32

INF, NAN = math.inf, math.nan
LEAST = 2.0**-149  # the smallest denormal


def random(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(F32)


def patterns(count, seed):
    """Numbers of all exponents, denormals, infinities and NaNs."""
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 2**32, count, dtype=np.uint32)
    denormal = generator.random(count) < 0.2
    return np.where(denormal, values & np.uint32(0x800FFFFF), values).view(F32)


def bits(values):
    return arithmetic.stored(np.asarray(values, F32), "float32").tolist()


def close(ours, theirs, tolerance=2e-6):
    theirs = torch.as_tensor(theirs).double().numpy()
    np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, tolerance, tolerance)
