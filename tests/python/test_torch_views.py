"""Tensors through LibTorch commit to what they commit to through _core, and are refused alike."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import blake3  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import torchnotary  # noqa: E402
from torchnotary import _libtorch  # noqa: E402
from torchnotary.errors import UnsupportedTensor  # noqa: E402

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
    torch.float4_e2m1fn_x2,
]


def commit(tensor, threads=1):
    """(data root, digest) in hex, through LibTorch."""
    data_root, digest = _libtorch.load().commit(tensor, threads)
    return data_root.hex(), digest.hex()


def through_core(tensor):
    commitment = torchnotary.commit(tensor)
    return commitment.data_root, commitment.digest


def random_bits(shape, dtype):
    """A tensor of any bit pattern at all (0 and 1 for bool)."""
    size = 1
    for n in shape:
        size *= n
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, dtype=torch.uint8).bool()
    raw = torch.randint(0, 256, (size * dtype.itemsize,), dtype=torch.uint8)
    return raw.view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_commits_as_through_core(dtype):
    for shape in ((), (0,), (1,), (3, 5), (2, 0, 3), (1000, 7)):
        tensor = random_bits(shape, dtype)
        assert commit(tensor) == through_core(tensor)


def test_the_data_root_is_blake3_of_the_bytes_in_logical_order():
    tensor = torch.arange(6000, dtype=torch.float32).reshape(60, 100).t()
    expected = blake3.blake3(np.ascontiguousarray(tensor.numpy()).tobytes()).hexdigest()
    assert commit(tensor)[0] == expected


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_strided_views_commit_as_their_contiguous_copies(data):
    dtype = data.draw(st.sampled_from([torch.float32, torch.int16, torch.bool, torch.complex64]))
    shape = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4))
    tensor = random_bits(shape, dtype)
    for _ in shape:
        start = data.draw(st.integers(0, 3))
        tensor = tensor.movedim(0, -1)[..., start :: data.draw(st.integers(1, 3))]
    tensor = tensor.permute(data.draw(st.permutations(range(tensor.dim()))))
    assert commit(tensor) == commit(tensor.contiguous()) == through_core(tensor)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.conj(),
        lambda t: t.conj().imag,
        lambda t: t.conj().imag[1:],
        lambda t: t.t().conj(),
        lambda t: t[:, 0].expand(5, 4),
        lambda t: t.real,
        lambda t: torch.nn.Parameter(t.real.clone()),
        lambda t: (t.real.clone().requires_grad_() * 2)[1:],
        lambda t: t.real.to(memory_format=torch.contiguous_format).as_strided((3, 3), (1, 1)),
    ],
    ids=["conj", "neg", "neg slice", "transposed conj", "expanded", "strided", "parameter"]
    + ["autograd", "overlapping"],
)
def test_views_of_every_kind_commit_as_their_resolved_copies(view):
    viewed = view(torch.randn(4, 6, dtype=torch.complex64))
    resolved = viewed.detach().resolve_conj().resolve_neg().clone().contiguous()
    assert commit(viewed) == commit(resolved) == through_core(viewed)


def test_more_threads_give_the_same_commitment():
    tensor = torch.randn(1 << 20)
    assert commit(tensor, threads=4) == commit(tensor) == through_core(tensor)
    assert commit(tensor[::3], threads=4) == commit(tensor[::3])


def test_values_that_differ_in_one_bit_commit_differently():
    tensor = torch.zeros(100)
    other = tensor.clone()
    other[99] = -0.0
    assert torch.equal(tensor, other)
    assert commit(tensor)[0] != commit(other)[0]
    assert commit(tensor)[1] != commit(tensor.reshape(10, 10))[1]
    assert commit(tensor)[1] != commit(tensor.view(torch.int32))[1]


def nested(layout):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "prototype stage"
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


def compressed(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "beta state"
        return getattr(torch.eye(3), method)()


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        return torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)


def fake():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(2)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: torch.eye(3).to_sparse(), "torch.sparse_coo"),
        (lambda: compressed("to_sparse_csr"), "torch.sparse_csr"),
        (lambda: compressed("to_sparse_csc"), "torch.sparse_csc"),
        (lambda: torch.eye(3).to_mkldnn(), "torch._mkldnn"),
        (quantised, "quantised"),
        (lambda: nested(torch.strided), "nested"),
        (lambda: nested(torch.jagged), "nested|jagged"),
        (lambda: torch.ones(3, device="meta"), "meta"),
        (fake, "meta|own dispatch"),
    ],
    ids=["coo", "csr", "csc", "mkldnn", "quantised", "nested", "jagged", "meta", "fake"],
)
def test_what_is_no_single_tensor_in_memory_is_refused_by_name(make, named):
    with pytest.raises(UnsupportedTensor, match=named) as refusal:
        commit(make())
    assert refusal.value.next_step


def test_a_tensor_inside_a_transform_is_refused():
    refusals = []

    def look(x):
        with pytest.raises(UnsupportedTensor) as refusal:
            commit(x)
        refusals.append(refusal.value)
        return x

    torch.vmap(look)(torch.ones(2, 3))
    assert len(refusals) == 1


def test_what_is_no_tensor_is_a_type_error():
    with pytest.raises(TypeError):
        commit(np.ones(3))
