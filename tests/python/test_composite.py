"""Sparse, quantised and nested tensors: committed to by their components, exactly, or refused."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commitment_reference import (
    composite_reference,
    dtype_name,
    random_bits,
    reference,
    reference_of,
    torch_bytes,
)
from torchnotary import Commitment, UnsupportedTensor, commit
from torchnotary.composite import Composite, composite_digests

pytestmark = pytest.mark.filterwarnings("ignore")  # beta, prototype, deprecated: torch's layouts

VALUES = ["float32", "float64", "bfloat16", "float8_e4m3fn", "int64", "uint16", "bool", "complex64"]


def assert_composite(tensor, layout, shape, components) -> Commitment:
    """That a tensor commits to these (dtype name, shape, data bytes)."""
    made = commit(tensor)
    digests = [reference(*component)[0] for component in components]
    name = dtype_name(tensor.dtype)
    assert (made.digest, made.data_root) == composite_reference(layout, name, shape, digests)
    assert (made.layout, made.dtype, made.shape) == (layout, name, tuple(shape))
    assert made.nbytes == sum(len(data) for _, _, data in components)
    return made


def int64s(numbers) -> bytes:
    return b"".join(n.to_bytes(8, "little", signed=True) for n in numbers)


@st.composite
def coo_tensors(draw):
    """Sparse tensors of distinct indices in any order: (tensor, its columns, its values)."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    dense = draw(st.lists(st.integers(0, 3), max_size=2))
    every = list(itertools.product(*map(range, sizes)))
    columns = draw(st.permutations(every))[: draw(st.integers(0, len(every)))]
    dtype = getattr(torch, draw(st.sampled_from(VALUES)))
    values = random_bits(dtype, (len(columns), *dense), draw(st.integers(0, 1000)))
    indices = torch.tensor(columns, dtype=torch.int64).reshape(len(columns), len(sizes)).T
    tensor = torch.sparse_coo_tensor(indices, values, (*sizes, *dense), check_invariants=True)
    return tensor, columns, values


@given(coo_tensors())
@settings(max_examples=300, deadline=None)
def test_a_coo_tensor_in_any_order_commits_to_its_columns_in_ascending_order(made):
    tensor, columns, values = made
    order = sorted(range(len(columns)), key=lambda i: columns[i])
    rows = zip(*(columns[i] for i in order), strict=True) if columns else ()
    indices = ("int64", (tensor.sparse_dim(), len(columns)), int64s(n for row in rows for n in row))
    data = b"".join(torch_bytes(values[i]) for i in order)
    moved = (dtype_name(values.dtype), tuple(values.shape), data)
    assert_composite(tensor, "sparse_coo", tuple(tensor.shape), [indices, moved])


def test_a_coo_tensor_without_repeated_indices_equals_its_coalesced_form():
    indices = torch.tensor([[2, 0, 1, 0], [0, 1, 1, 0]])
    tensor = torch.sparse_coo_tensor(indices, torch.tensor([1.0, -0.0, 3.0, 4.0]), (3, 2))
    assert not tensor.is_coalesced()
    # coalesce() adds each value to 0.0, which loses the sign of zero: so this one is put back.
    coalesced = tensor.coalesce()
    coalesced.values()[1] = -0.0
    assert commit(tensor) == commit(coalesced)
    assert commit(tensor.requires_grad_()) == commit(coalesced)
    assert commit(torch.nn.Parameter(tensor.detach())) == commit(coalesced)
    lying = torch.sparse_coo_tensor(*_parts(tensor), (3, 2))._coalesced_(True)
    assert commit(lying) == commit(coalesced)
    humble = torch.sparse_coo_tensor(*_parts(coalesced), (3, 2))._coalesced_(False)
    assert commit(humble) == commit(coalesced)


def _parts(tensor):
    tensor = tensor.detach()
    return tensor._indices().clone(), tensor._values().clone()


@pytest.mark.parametrize("coalesced", [False, True])
@pytest.mark.parametrize("columns", [[[0, 0]], [[1, 0, 1], [2, 0, 2]]])
def test_a_coo_tensor_that_names_an_element_twice_is_refused_whatever_its_flag(columns, coalesced):
    tensor = torch.sparse_coo_tensor(columns, torch.ones(len(columns[0])), (3,) * len(columns))
    tensor._coalesced_(coalesced)
    with pytest.raises(UnsupportedTensor, match=r"twice.*Next: call \.coalesce\(\)"):
        commit(tensor)
    assert commit(tensor.coalesce()) if not coalesced else True


def test_dimensions_that_are_sparse_and_dense_ones_are_told_apart():
    dense = torch.arange(1.0, 7.0).reshape(2, 3)
    made = {commit(dense.to_sparse(sparse_dim)).digest for sparse_dim in (1, 2)}
    assert len(made | {commit(dense).digest}) == 3


def test_a_sparse_tensor_of_no_sparse_dimension_holds_one_element_at_most():
    one = torch.sparse_coo_tensor(torch.zeros(0, 1, dtype=torch.int64), torch.ones(1, 2), (2,))
    indices, values = ("int64", (0, 1), b""), ("float32", (1, 2), torch_bytes(torch.ones(1, 2)))
    assert_composite(one, "sparse_coo", (2,), [indices, values])
    two = torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), torch.ones(2, 2), (2,))
    with pytest.raises(UnsupportedTensor, match="twice"):
        commit(two)


COMPRESSED = {
    "sparse_csr": ("crow_indices", "col_indices", ()),
    "sparse_csc": ("ccol_indices", "row_indices", ()),
    "sparse_bsr": ("crow_indices", "col_indices", ((2, 2),)),
    "sparse_bsc": ("ccol_indices", "row_indices", ((2, 2),)),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("layout", COMPRESSED)
def test_a_compressed_tensor_commits_to_its_indices_and_values(layout, index, name):
    compressed, plain = torch.tensor([0, 2, 3], dtype=index), torch.tensor([0, 2, 1], dtype=index)
    block = (2, 2) if "bs" in layout else ()
    values = random_bits(getattr(torch, name), (3, *block), 5)
    shape = {"sparse_csr": (2, 3), "sparse_csc": (3, 2), "sparse_bsr": (4, 6), "sparse_bsc": (6, 4)}
    tensor = torch.sparse_compressed_tensor(
        compressed, plain, values, shape[layout], layout=getattr(torch, layout)
    )
    parts = [(dtype_name(t.dtype), tuple(t.shape), torch_bytes(t)) for t in (compressed, plain)]
    parts.append((name, tuple(values.shape), torch_bytes(values)))
    made = assert_composite(tensor, layout, shape[layout], parts)
    if values.dtype.is_floating_point:
        assert commit(tensor.requires_grad_()) == made


@pytest.mark.parametrize("layout", COMPRESSED)
def test_batches_of_compressed_matrices_commit_to_their_parts(layout):
    compressed, plain, blocks = COMPRESSED[layout]
    dense = torch.tensor([[1.0, 0, 2, 0], [0, 3, 0, 0], [0, 0, 4, 0], [5, 0, 0, 0]])
    tensor = getattr(torch.stack([dense, 2 * dense]), f"to_{layout}")(*blocks)
    parts = [getattr(tensor, compressed)(), getattr(tensor, plain)(), tensor.values()]
    assert parts[0].dim() == 2
    components = [(dtype_name(t.dtype), tuple(t.shape), torch_bytes(t)) for t in parts]
    assert_composite(tensor, layout, (2, 4, 4), components)


def test_a_zero_that_is_stored_and_the_width_of_the_indices_count():
    crow, col = torch.tensor([0, 1, 1]), torch.tensor([0])
    one = torch.sparse_csr_tensor(crow, col, torch.ones(1), (2, 2))
    stored = torch.sparse_csr_tensor(
        torch.tensor([0, 2, 2]), torch.tensor([0, 1]), torch.tensor([1.0, 0.0]), (2, 2)
    )
    narrow = torch.sparse_csr_tensor(crow.int(), col.int(), torch.ones(1), (2, 2))
    assert torch.equal(one.to_dense(), stored.to_dense())
    assert len({commit(t).digest for t in (one, stored, narrow)}) == 3


def _unchecked_coo(indices, values, shape):
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False)


def _unchecked_csr(crow, col, values, shape):
    crow, col = torch.as_tensor(crow), torch.as_tensor(col)
    return torch.sparse_csr_tensor(crow, col, values, shape, check_invariants=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _unchecked_coo(torch.tensor([[5]]), torch.ones(1), (3,)),
        lambda: _unchecked_coo(torch.tensor([[-1]]), torch.ones(1), (3,)),
        lambda: _unchecked_csr([0, 2, 3], [1, 0, 1], torch.ones(3), (2, 2)),  # out of order
        lambda: _unchecked_csr([0, 2, 3], [0, 0, 1], torch.ones(3), (2, 2)),  # twice
        lambda: _unchecked_csr([0, 1, 2], [0, 9], torch.ones(2), (2, 2)),  # out of bounds
        lambda: _unchecked_csr([0, 2, 1], [0, 1], torch.ones(2), (2, 2)),  # descending
        lambda: _unchecked_csr([1, 1, 2], [0, 1], torch.ones(2), (2, 2)),  # begins at 1
        lambda: _unchecked_csr([0, 1, 9], [0, 1], torch.ones(2), (2, 2)),  # beyond the values
    ],
)
def test_a_sparse_tensor_that_breaks_its_invariants_is_refused(make):
    with pytest.raises(UnsupportedTensor, match="invariants.*Next: "):
        commit(make())


QUANTISED = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}
VIEWS = [lambda t: t, lambda t: t.t(), lambda t: t[1:, ::2], lambda t: t[2], lambda t: t[:0]]


@pytest.mark.parametrize("dtype", QUANTISED)
@pytest.mark.parametrize("look", VIEWS)
def test_a_tensor_quantised_as_a_whole_commits_to_its_integers_scale_and_zero_point(dtype, look):
    real = torch.linspace(-3, 3, 20).reshape(4, 5)
    tensor = look(torch.quantize_per_tensor(real, 0.1, 7, dtype))
    integers = tensor.int_repr()
    parts = [
        (dtype_name(QUANTISED[dtype]), tuple(tensor.shape), torch_bytes(integers)),
        ("float64", (), torch_bytes(torch.tensor(0.1, dtype=torch.float64))),
        ("int64", (), int64s([7])),
    ]
    assert_composite(tensor, "quantized_per_tensor", tuple(tensor.shape), parts)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    # torch has floating zero points for quint8 and packed integers alone.
    "dtype, floating",
    [*((dtype, False) for dtype in QUANTISED), (torch.quint8, True)],
)
def test_a_tensor_quantised_by_channel_commits_to_scales_zero_points_and_axis(
    dtype, axis, floating
):
    real = torch.linspace(0, 3, 20).reshape(4, 5)
    scales = torch.linspace(0.1, 0.5, real.shape[axis], dtype=torch.float64)
    zeros = torch.arange(real.shape[axis])
    if floating:
        scales, zeros = scales.float(), zeros.float()
    tensor = torch.quantize_per_channel(real, scales, zeros, axis, dtype)
    integers = tensor.int_repr()
    parts = [
        (dtype_name(QUANTISED[dtype]), (4, 5), torch_bytes(integers)),
        (dtype_name(scales.dtype), tuple(scales.shape), torch_bytes(scales)),
        (dtype_name(zeros.dtype), tuple(zeros.shape), torch_bytes(zeros)),
        ("int64", (), int64s([axis])),
    ]
    assert_composite(tensor, "quantized_per_channel", (4, 5), parts)


@pytest.mark.parametrize("dtype, bits", [(torch.quint4x2, 4), (torch.quint2x4, 2)])
@pytest.mark.parametrize("shape", [(4, 4), (3, 3), (1, 1), (2, 5)])
def test_packed_integers_commit_to_their_bytes_without_what_is_beside_elements(dtype, bits, shape):
    scales, zeros = torch.full(shape[:1], 0.1), torch.zeros(shape[0])
    tensor = torch.quantize_per_channel(torch.rand(shape), scales, zeros, 0, dtype)
    packed = bytearray(tensor.int_repr().numpy().tobytes())
    used = shape[0] * shape[1] * bits
    assert len(packed) == -(-used // 8)
    elements = int.from_bytes(packed, "little") & ((1 << used) - 1)
    parts = [
        ("uint8", (len(packed),), elements.to_bytes(len(packed), "little")),
        ("float32", shape[:1], torch_bytes(scales)),
        ("float32", shape[:1], torch_bytes(zeros)),
        ("int64", (), int64s([0])),
    ]
    made = assert_composite(tensor, "quantized_per_channel", shape, parts)
    memory = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    memory[len(packed) - 1] ^= (0xFF << used % 8 & 0xFF) if used % 8 else 0
    assert commit(tensor) == made
    memory[len(packed) - 1] ^= 1
    assert commit(tensor) != made


def test_an_integer_a_scale_a_zero_point_or_an_axis_more_is_another_tensor():
    real = torch.linspace(-1, 1, 9).reshape(3, 3)
    scales, zeros = torch.full((3,), 0.1, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    quantised = [
        torch.quantize_per_tensor(real, 0.1, 0, torch.qint8),
        torch.quantize_per_tensor(real, 0.1000001, 0, torch.qint8),
        torch.quantize_per_tensor(real, 0.1, 1, torch.qint8),
        torch.quantize_per_tensor(real, 0.1, 0, torch.qint32),
        torch.quantize_per_tensor(real.flip(0), 0.1, 0, torch.qint8),
        torch.quantize_per_channel(real, scales, zeros, 0, torch.qint8),
        torch.quantize_per_channel(real, scales, zeros, 1, torch.qint8),
        torch.quantize_per_channel(real, scales, zeros + 1, 1, torch.qint8),
    ]
    assert len({commit(tensor).digest for tensor in quantised}) == len(quantised)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("lengths", [[2, 3], [1], [5, 1, 4], [3] * 300])
def test_a_nested_tensor_commits_to_its_members(layout, lengths):
    members = [torch.randn(length, 4) for length in lengths]
    tensor = torch.nested.nested_tensor(members, layout=layout)
    parts = [
        ("float32", (length, 4), torch_bytes(m)) for length, m in zip(lengths, members, strict=True)
    ]
    name = "nested_jagged" if layout is torch.jagged else "nested_strided"
    made = assert_composite(tensor, name, (len(lengths),), parts)
    gradient = torch.nested.nested_tensor(members, layout=layout, requires_grad=True)
    assert commit(gradient) == made


def test_views_of_nested_tensors_commit_to_the_members_they_show():
    members = [torch.randn(length, 4) for length in (2, 5, 3)]
    for layout, name in ((torch.strided, "nested_strided"), (torch.jagged, "nested_jagged")):
        tensor = torch.nested.nested_tensor(members, layout=layout).transpose(1, 2)
        digests = [reference_of(member.t()) for member in members]
        assert commit(tensor).digest == composite_reference(name, "float32", (3,), digests)[0]
    long = torch.randn(3, 6, 4)
    start, lengths = torch.tensor([0, 1, 2]), torch.tensor([2, 5, 1])
    holes = torch.nested.narrow(long, 1, start, lengths, layout=torch.jagged)
    digests = [reference_of(long[i, start[i] : start[i] + lengths[i]]) for i in range(3)]
    assert commit(holes).digest == composite_reference("nested_jagged", "float32", (3,), digests)[0]


def test_a_nested_tensor_of_nothing_has_no_member():
    made = commit(torch.nested.nested_tensor([]))
    assert made.digest == composite_reference("nested_strided", "float32", (0,), [])[0]


@pytest.mark.parametrize(
    "make, names",
    [
        (lambda: torch.eye(3).to_mkldnn(), "torch._mkldnn"),
        (lambda: torch.empty(2, dtype=torch.quint8), "quint8"),
        (
            lambda: torch.sparse_coo_tensor([[0]], [1.0], (2,), device="meta"),
            "meta",
        ),
        (lambda: torch.masked.masked_tensor(torch.ones(2), torch.ones(2).bool()), "MaskedTensor"),
    ],
)
def test_what_has_no_exact_rule_is_refused_by_name(make, names):
    with pytest.raises(UnsupportedTensor, match=f"{names}.*Next: "):
        commit(make())


def test_a_composite_tensor_has_the_components_of_its_layout_and_no_others():
    for layout, count in (("sparse_coo", 3), ("quantized_per_channel", 3), ("sparse_xyz", 2)):
        with pytest.raises(ValueError, match=layout):
            composite_digests(layout, "float32", (2,), [bytes(32)] * count)
        with pytest.raises(ValueError, match=layout):
            Composite(layout, "float32", (2,), dict.fromkeys(map(str, range(count))))


def test_a_quantised_tensor_whose_storage_was_given_back_is_refused_and_left_alone():
    tensor = torch.quantize_per_tensor(torch.zeros(100), 0.1, 0, torch.qint8)
    tensor.untyped_storage().resize_(0)
    with pytest.raises(UnsupportedTensor, match="beyond its storage"):
        commit(tensor)
    assert tensor.untyped_storage().nbytes() == 0


def test_a_sparse_tensor_of_more_dimensions_than_a_header_has_is_refused():
    indices = torch.zeros(300, 1, dtype=torch.int64)
    tensor = torch.sparse_coo_tensor(indices, torch.ones(1), (1,) * 300)
    with pytest.raises(UnsupportedTensor, match="dimensions"):
        commit(tensor)
