"""The golden digests of exact/1 are those of the specification, and whole models give theirs in
every order of work. tests/cpp/exact_golden_test.cpp holds the kernels to the same file."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

torch = pytest.importorskip("torch")

import bits_travel  # noqa: E402
import exact_model_stages as model_stages  # noqa: E402
from exact_reference import attention, elementwise, functions, products, sums, windows  # noqa: E402
from exact_reference.arithmetic import F32, fl, loaded, stored  # noqa: E402
from torchnotary import _libtorch  # noqa: E402

needs_libtorch = pytest.mark.skipif(
    _libtorch.available() is None, reason="_torch is not built for this torch"
)


# The rule of inputs, read a second time: tests/cpp/exact_golden.h says it.
SMALL = [0, 1 << 31, 1, (1 << 31) + 1, 0x007FFFFF, 0x80400000, 0x00800000, 0x8D800000]
LARGE = [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFA12345]
LARGE += [0x7F7FFFFF, 0xFF7FFFFF, 0x3F800000, 0xBF800000]


def mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def words(s: int, shape: tuple[int, ...]) -> np.ndarray:
    first = np.uint32(s * 0x9E3779B9 & 0xFFFFFFFF)
    return mix(np.arange(np.prod(shape, dtype=int), dtype=np.uint32) + first).reshape(shape)


def numbers(s: int, *shape: int, storage: str = "float32", hard: bool = False) -> np.ndarray:
    """Operand s as binary32, whatever it is stored as."""
    w = words(s, shape)
    bits = (w.view(np.int32).astype(F32) * F32(2.0**-29)).view(np.uint32)
    table = w // np.uint32(16) % np.uint32(8)
    bits = np.where(w % 16 == 0, np.array(SMALL, np.uint32)[table], bits)
    if hard:
        bits = np.where(w % 16 == 8, np.array(LARGE, np.uint32)[table], bits)
        bits = np.where(w % 16 == 4, mix(w), bits)
    values = bits.view(F32)
    return values if storage == "float32" else loaded(stored(values, storage), storage)


def booleans(s: int, *shape: int) -> np.ndarray:
    return words(s, shape) % 2 == 1


def int8s(s: int, *shape: int) -> np.ndarray:
    return words(s, shape).astype(np.uint8).view(np.int8)


def additive_mask(*shape: int) -> np.ndarray:
    mask = numbers(4, *shape).copy()
    mask.reshape(-1)[3::5] = -np.inf
    return mask


def linear(storage: str, m: int, n: int, k: int, hard: bool = False) -> np.ndarray:
    x, w = numbers(1, m, k, storage=storage, hard=hard), numbers(2, n, k, storage=storage)
    return products.linear(x, w, numbers(3, n, storage=storage) if n % 2 else None)


def attended(mask: np.ndarray | None = None, key_heads: int = 4, **options: bool) -> np.ndarray:
    q = numbers(1, 2, 4, 37, 24)
    k, v = numbers(2, 2, key_heads, 133, 24), numbers(3, 2, key_heads, 133, 20)
    return attention.attention(q, k, v, mask, scale=fl(0.3), **options)


def transposed() -> np.ndarray:
    return products.conv_transpose2d(
        numbers(1, 2, 10, 9, 8),
        numbers(2, 10, 6, 3, 4),
        numbers(3, 6),
        stride=(2, 3),
        padding=(1, 0),
        output_padding=(1, 2),
    )


def dilated() -> np.ndarray:
    return products.conv2d(
        numbers(1, 1, 6, 25, 21),
        numbers(2, 10, 3, 3, 3),
        numbers(3, 10),
        stride=(2, 1),
        padding=((2, 2), (3, 3)),
        dilation=(2, 3),
        groups=2,
    )


def gru() -> np.ndarray:
    gates = (numbers(s, 3, 3 * 257).reshape(3, 3, 257).swapaxes(0, 1) for s in (1, 2))
    (ir, iz, i_n), (hr, hz, hn) = gates
    r, z = elementwise.sigmoid(ir + hr), elementwise.sigmoid(iz + hz)
    n = functions.tanh(i_n + (r * hn))
    return ((numbers(3, 3, 257) - n) * z) + n


def bf16(s: int, *shape: int, hard: bool = False) -> np.ndarray:
    return numbers(s, *shape, storage="bfloat16", hard=hard)


def f16(s: int, *shape: int, hard: bool = False) -> np.ndarray:
    return numbers(s, *shape, storage="float16", hard=hard)


# Lines of most groups, each of them computed slowly in less than a second.
SLOW: dict[str, Callable[[], np.ndarray]] = {
    "linear/float32/5x48x257": lambda: linear("float32", 5, 48, 257),
    "linear/bfloat16/17x49x600": lambda: linear("bfloat16", 17, 49, 600),
    "linear/float16/40x33x11/hard": lambda: linear("float16", 40, 33, 11, hard=True),
    "matmul/float32/9x37x256": lambda: products.matmul(
        numbers(1, 2, 3, 9, 256), numbers(2, 2, 1, 256, 37)
    ),
    "matmul/float16/1x130x257/plus": lambda: products.addmm(
        f16(3, 130), f16(1, 2, 3, 1, 257), f16(2, 2, 1, 257, 130)
    ),
    "int8/37x65x257": lambda: products.int_mm(int8s(1, 37, 257), int8s(2, 257, 65)),
    "attention/float32/causal-boolean": lambda: attended(
        booleans(4, 2, 1, 37, 133), is_causal=True
    ),
    "attention/float32/grouped-causal-additive": lambda: attended(
        additive_mask(2, 1, 37, 133), key_heads=1, is_causal=True
    ),
    "element/bfloat16/silu": lambda: elementwise.silu(bf16(1, 4099, hard=True)),
    "element/float16/gelu": lambda: elementwise.gelu(f16(1, 4099, hard=True)),
    "element/float16/addcmul": lambda: elementwise.addcmul(
        *(f16(s, 4099, hard=True) for s in (1, 2, 3)), fl(0.75)
    ),
    "element/bfloat16/floor_divide": lambda: elementwise.floor_divide(
        *(bf16(s, 4099, hard=True) for s in (1, 2))
    ),
    "element/float16/remainder": lambda: elementwise.remainder(
        *(f16(s, 4099, hard=True) for s in (1, 2))
    ),
    "elementary/exp": lambda: functions.exp(
        (np.arange(65536, dtype=np.uint32) * np.uint32(65537)).view(F32)
    ),
    "convert/float32/bfloat16": lambda: numbers(1, 4099, hard=True),
    "sum/float32/19x4097": lambda: sums.sum(numbers(1, 19, 4097), [1]),
    "var/float32/19x4096": lambda: sums.var(numbers(1, 19, 4096), [1]),
    "logsumexp/float32/300x70/first-axis": lambda: sums.logsumexp(numbers(1, 300, 70), [0]),
    "cumsum/float32/5000x3/hard": lambda: sums.cumsum(numbers(1, 5000, 3, hard=True), 1),
    "softmax/float32/130x37": lambda: sums.softmax(numbers(1, 130, 37), 1),
    "log_softmax/bfloat16/130x37": lambda: sums.log_softmax(bf16(1, 130, 37), 1),
    "layer_norm/float32/129x384/weight-bias": lambda: sums.layer_norm(
        numbers(1, 129, 384), 1, numbers(2, 384), numbers(3, 384), fl(1e-5)
    ),
    "rms_norm/float32/3x4097/weight": lambda: sums.rms_norm(
        numbers(1, 3, 4097), 1, numbers(2, 4097), fl(1e-5)
    ),
    "batch_norm/float32/weight-bias": lambda: sums.batch_norm(
        numbers(1, 6, 12, 17, 29),
        numbers(4, 12),
        abs(numbers(5, 12)),
        numbers(2, 12),
        numbers(3, 12),
        fl(1e-5),
    ),
    "group_norm/float32/3/weight-bias": lambda: sums.group_norm(
        numbers(1, 6, 12, 17, 29), 3, numbers(2, 12), numbers(3, 12), fl(1e-5)
    ),
    "convolution/float32/dilated": dilated,
    "convolution/float32/transposed": transposed,
    "cells/gru/3x257": gru,
    "interpolate/linear/float32/9-20,11-300": lambda: windows.bilinear(
        numbers(1, 2, 5, 9, 11), (20, 300)
    ),
}


def result_bytes(name: str, values: np.ndarray) -> bytes:
    if values.dtype == np.int32:
        return values.tobytes()
    parts = [part for part in name.split("/") if part in ("float32", "bfloat16", "float16")]
    return stored(values, parts[-1] if parts else "float32").tobytes()


@pytest.mark.parametrize("name", SLOW)
def test_a_golden_digest_is_that_of_the_specification(name):
    with np.errstate(all="ignore"):
        values = SLOW[name]()
    assert (
        blake3(result_bytes(name, values)).hexdigest()
        == bits_travel.golden(bits_travel.KERNELS)[name]
    )


def assert_golden(lines: list[str]) -> None:
    expected = bits_travel.golden(bits_travel.MODELS)
    found = dict(line.split() for line in lines)
    assert found and found == {name: expected[name] for name in found}


@needs_libtorch
@pytest.mark.parametrize("order", ["padded-left", "one-by-one"])
def test_minilm_gives_its_golden_digests(minilm, order):
    minilm = copy.deepcopy(minilm)  # transformers leaves hooks in a model asked for hidden states
    assert_golden([model_stages.weights_line("minilm", minilm)])
    assert_golden(list(model_stages.lines("minilm", minilm, order)))


@needs_libtorch
def test_minilm_gives_its_golden_digests_on_another_path_with_other_threads():
    from torchnotary._core import cpu_path

    path = {"avx512": "avx2"}.get(cpu_path(), "portable")
    script = Path(model_stages.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "minilm", "3"],
        env={**os.environ, "TORCHNOTARY_CPU": path, "ATEN_CPU_CAPABILITY": "default"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert {order for order, _, _ in found} == {"-", *model_stages.ORDERS["minilm"]}
    for order in model_stages.ORDERS["minilm"]:
        assert_golden([rest for each, _, rest in found if each == order])


@needs_libtorch
@pytest.mark.parametrize("order", ["padded-left", "one-by-one"])
def test_smollm2_gives_its_golden_digests(smollm2, order):
    before = model_stages.install_frequencies(smollm2)
    try:
        assert_golden([model_stages.weights_line("smollm2", smollm2)])
        assert_golden(list(model_stages.lines("smollm2", smollm2, order)))
    finally:
        smollm2.model.rotary_emb.inv_freq = before
