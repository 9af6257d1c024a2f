"""Tensor commitments: equal content gives equal digests, any difference gives different ones."""

from __future__ import annotations

import subprocess
import sys

import blake3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitment_reference import random_bits, reference, torch_bytes
from torchnotary import UnsupportedTensor, _core, commit
from torchnotary.commitment import commit_many, is_tensor, view

torch = pytest.importorskip("torch")

DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float64 float32 float16 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 "
        "float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 complex32 complex64 complex128 "
        "int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
    ).split()
    if hasattr(torch, name)
}


def assert_reference(tensor) -> None:
    name = str(tensor.dtype).removeprefix("torch.")
    made = commit(tensor)
    assert (made.digest, made.data_root) == reference(
        name, tuple(tensor.shape), torch_bytes(tensor)
    )
    assert (made.dtype, made.shape) == (name, tuple(tensor.shape))
    assert made.nbytes == tensor.numel() * tensor.element_size()


@st.composite
def tensors(draw):
    """Random bits of any dtype, seen through views: slices, permutations, expansion, flips."""
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    tensor = random_bits(dtype, shape, draw(st.integers(0, 1000)))
    for dim, size in enumerate(shape):
        if draw(st.booleans()):
            start, step = draw(st.integers(0, size)), draw(st.integers(1, 3))
            tensor = tensor[(slice(None),) * dim + (slice(start, None, step),)]
    tensor = tensor.permute(draw(st.permutations(range(tensor.dim()))))
    if draw(st.booleans()):
        tensor = tensor.unsqueeze(0).expand(draw(st.integers(0, 4)), *tensor.shape)
    return tensor


@given(tensors())
@settings(max_examples=400, deadline=None)
def test_a_view_of_any_strides_commits_as_the_grammar_says(tensor):
    assert_reference(tensor)
    assert view(tensor).tobytes() == torch_bytes(tensor)
    assert commit(tensor) == commit(tensor.contiguous())


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_commits_under_torch_s_name(name):
    assert_reference(random_bits(DTYPES[name], (3, 5)))
    assert_reference(random_bits(DTYPES[name], ()))
    assert_reference(random_bits(DTYPES[name], (4, 0, 2)))


# A gather buffer holds 65,536 bytes: runs below, at and beyond it, and ones that straddle it.
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(700, 300).t(),
        lambda: torch.randn(40, 3, 700)[:, ::2],
        lambda: torch.randn(3, 40000)[:, :30001],
        lambda: torch.randn(16384, 2)[:, 0],
        lambda: torch.randn(16385, 2)[:, 1],
        lambda: torch.randn(16, 64, 65).permute(2, 0, 1)[::2],
        lambda: torch.randn(5).expand(9000, 5),
        lambda: torch.randn(33, 1001, dtype=torch.complex128).t(),
    ],
)
def test_strided_tensors_larger_than_the_gather_buffer_commit_as_their_copies(make):
    assert_reference(make())


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_never_shows(threads):
    tensor = torch.randn(1030, 1031)
    whole = view(tensor)
    assert whole.commit(threads) == whole.commit()
    assert whole.row_digests(threads=threads) == whole.row_digests()
    assert view(tensor.t()).commit(threads) == view(tensor.t().contiguous()).commit()


@given(tensors(), st.data())
@settings(max_examples=200, deadline=None)
def test_one_flipped_bit_changes_both_digests(tensor, data):
    raw = bytearray(torch_bytes(tensor))
    if not raw:
        return
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] ^= 1
    name, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    before = _core.View.from_buffer(raw, name, shape).commit()
    after = _core.View.from_buffer(changed, name, shape).commit()
    assert before[0] != after[0] and before[1] != after[1]


def test_the_same_bytes_under_another_dtype_or_shape_have_the_same_root_and_another_digest():
    tensor = random_bits(torch.int32, (4, 6))
    others = [tensor.view(torch.float32), tensor.view(torch.uint32), tensor.reshape(6, 4)]
    others += [tensor.reshape(24), tensor.reshape(1, 4, 6), tensor.view(torch.int64)]
    made = [commit(t) for t in (tensor, *others)]
    assert len({m.digest for m in made}) == len(made)
    assert len({m.data_root for m in made}) == 1


@pytest.mark.parametrize(
    "name",
    "float16 float32 float64 complex64 complex128 int8 int16 int32 int64 "
    "uint8 uint16 uint32 uint64 bool".split(),
)
def test_numpy_and_torch_agree(name):
    tensor = random_bits(DTYPES[name], (6, 7))
    array = tensor.numpy()
    assert commit(array) == commit(tensor)
    assert commit(array.T) == commit(tensor.t())
    assert commit(array[::-2, ::-1]) == commit(array[::-2, ::-1].copy())
    assert commit(np.asfortranarray(array)) == commit(tensor)
    assert commit(array[1, 2]) == commit(tensor[1, 2])  # a numpy scalar
    assert commit(array.astype(array.dtype.newbyteorder(">"))) == commit(tensor)
    read_only = array.copy()
    read_only.flags.writeable = False
    assert commit(read_only) == commit(tensor)


def test_a_field_of_packed_records_commits_as_its_copy():
    records = np.zeros(5, dtype=[("flag", np.uint8), ("value", np.float32)])
    records["value"] = np.arange(5)
    assert commit(records["value"]) == commit(np.arange(5, dtype=np.float32))


@pytest.mark.parametrize("dtype", [torch.complex32, torch.complex64, torch.complex128])
def test_conjugate_and_negative_views_commit_as_what_they_stand_for(dtype):
    tensor = random_bits(torch.float32, (5, 6, 2)).nan_to_num()
    tensor = torch.view_as_complex(tensor).to(dtype)
    conjugate = tensor.conj()
    assert conjugate.is_conj()
    assert commit(conjugate) == commit(conjugate.resolve_conj()) != commit(tensor)
    assert commit(conjugate.t()) == commit(conjugate.resolve_conj().t())
    imaginary = conjugate.imag
    assert imaginary.is_neg()
    assert commit(imaginary) == commit(imaginary.resolve_neg())
    negative = torch._neg_view(conjugate)
    flipped = torch.view_as_real(tensor.clone()) * torch.tensor([-1.0, 1.0]).to(tensor.real.dtype)
    assert commit(negative) == commit(torch.view_as_complex(flipped))


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "bfloat16", "float64"])
def test_negative_views_of_real_tensors_commit_as_what_they_stand_for(name):
    tensor = torch.arange(-20, 22).to(DTYPES[name]).reshape(6, 7)
    negative = torch._neg_view(tensor)
    assert commit(negative) == commit(negative.resolve_neg()) == commit(-tensor)


def test_a_signalling_nan_in_a_negative_view_stays_one_and_changes_its_sign():
    bits = torch.tensor([0x7FF07DC89DC0110F, 0x3FF0000000000000])
    flipped = torch.tensor([0x7FF07DC89DC0110F - 2**63, 0x3FF0000000000000 - 2**63])
    negative = torch._neg_view(bits.view(torch.float64))
    assert commit(negative) == commit(flipped.view(torch.float64))
    pair = torch.view_as_complex(bits.view(torch.float64).reshape(1, 2))
    assert commit(torch._neg_view(pair)) == commit(flipped.view(torch.complex128))


def test_negative_zero_and_nan_payloads_are_kept():
    zeros = [commit(torch.tensor([z])) for z in (0.0, -0.0)]
    bits = (0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001)
    nans = [commit(torch.tensor([b]).to(torch.int32).view(torch.float32)) for b in bits]
    assert len({m.digest for m in zeros + nans}) == 6


def test_any_true_byte_of_a_bool_tensor_is_01():
    odd = torch.tensor([0, 1, 2, 255], dtype=torch.uint8).view(torch.bool)
    assert commit(odd) == commit(torch.tensor([False, True, True, True]))
    assert view(odd).tobytes() == b"\0\1\1\1"


def test_parameters_gradients_and_inference_tensors_commit_as_their_data():
    data = torch.randn(3, 4)
    expected = commit(data)
    assert commit(torch.nn.Parameter(data)) == expected
    assert commit(data.clone().requires_grad_()) == expected
    with torch.inference_mode():
        assert commit(data.clone()) == expected


@pytest.mark.parametrize("library", [torch, np])
def test_a_view_keeps_the_memory_it_borrows(library):
    borrowed = view(library.full((1 << 16,), 7, dtype=library.float32))
    others = [library.full((1 << 16,), 8, dtype=library.float32) for _ in range(8)]
    assert borrowed.tobytes() == np.full(1 << 16, 7, np.float32).tobytes()
    assert len(others) == 8  # which would have taken the freed memory


def rows_by_the_rule(tensor, max_rows: int) -> bytes:
    run = -(-tensor.shape[0] // max_rows)
    parts = [tensor[i] if run == 1 else tensor[i : i + run] for i in range(0, len(tensor), run)]
    return b"".join(bytes.fromhex(commit(part).digest) for part in parts)


@given(
    st.sampled_from(["float32", "bool", "uint8", "complex128"]),
    st.integers(1, 200),
    st.sampled_from([(1,), (16,), (255,), (256,), (257,), (3, 5), (0,), (1030,)]),
    st.sampled_from([1, 2, 3, 64, 65, 199, 4096]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_row_digests_are_the_digests_of_the_rows(name, n, rest, max_rows, transposed):
    tensor = random_bits(DTYPES[name], (n, *rest))
    if transposed:
        tensor = tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert view(tensor).row_digests(max_rows) == rows_by_the_rule(tensor, max_rows)


def test_no_more_than_4096_rows_however_long_the_axis():
    for n, count in ((4096, 4096), (4097, 2049), (8192, 4096), (8193, 2731)):
        tensor = torch.arange(n * 2).reshape(n, 2)
        assert view(tensor).row_digests() == rows_by_the_rule(tensor, 4096)
        assert len(view(tensor).row_digests()) == 32 * count


def test_rows_of_an_expanded_tensor_are_all_alike():
    digests = view(torch.arange(5.0).expand(9, 5)).row_digests()
    assert digests == bytes.fromhex(commit(torch.arange(5.0)).digest) * 9


@pytest.mark.parametrize("shape", [(), (5,), (0, 3)])
def test_a_tensor_without_rows_has_no_row_digests(shape):
    with pytest.raises(UnsupportedTensor, match="row"):
        view(torch.zeros(shape)).row_digests()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make, names",
    [
        (lambda: torch.eye(3).to_mkldnn(), "torch._mkldnn"),
        (lambda: torch.empty(2, dtype=torch.qint8), "torch.qint8"),
        (lambda: torch.empty(2, device="meta"), "meta"),
        (lambda: torch.nn.UninitializedParameter(), "UninitializedParameter"),
        (lambda: np.array(["a"], dtype=object), "object"),
        (lambda: np.array(["2026-11-21"], dtype="datetime64[D]"), "datetime64"),
        (lambda: np.array(["text"]), "<U4"),
        (lambda: np.zeros(2, dtype=[("a", np.int8)]), "'a'"),
        (lambda: np.zeros(2, np.longdouble), "float128"),
        (lambda: np.ma.masked_array([1.0, 2.0], [False, True]), "masked"),
        (lambda: [1.0, 2.0], "list"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(make, names):
    with pytest.raises(UnsupportedTensor, match="Next: ") as caught:
        commit(make())
    assert names in str(caught.value)


@pytest.mark.parametrize(
    "make, nbytes, memory",
    [
        (lambda: torch.zeros(1).expand(2**33), 2**35, 4),
        (lambda: torch.zeros(1).expand(2**40, 2**20), 2**62, 4),
        (lambda: torch.zeros(2**23 + 1).expand(2, -1), 2 * 4 * (2**23 + 1), 4 * (2**23 + 1)),
        (lambda: torch.zeros(2**14).unfold(0, 2**13, 1), 4 * 2**13 * (2**13 + 1), 2**16),
        (lambda: np.broadcast_to(np.zeros(1, ">f4"), (2**33,)), 2**35, 4),
    ],
)
def test_a_large_tensor_that_is_the_same_memory_over_and_over_is_refused(make, nbytes, memory):
    with pytest.raises(UnsupportedTensor, match=r"\.contiguous\(\)") as caught:
        commit(make())
    assert f"{nbytes} bytes that stand on {memory} bytes" in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(2**23).expand(2, -1),  # 64 MiB to the byte
        lambda: torch.randn(2**13, 2**12).t(),  # larger, each element its own
        lambda: torch.randn(1, 2**24 + 1).expand(1, -1),
        lambda: torch.zeros(1).expand(2**40, 0),
    ],
)
def test_large_tensors_with_memory_of_their_own_and_modest_expanded_ones_commit(make):
    tensor = make()
    assert commit(tensor) == commit(tensor.contiguous())


def test_fake_tensors_and_tensors_inside_a_transform_are_refused():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.empty(3)
    with pytest.raises(UnsupportedTensor, match="FakeTensor"):
        commit(fake)
    with pytest.raises(UnsupportedTensor, match="cannot be read"):
        torch.func.vmap(lambda row: commit(row) and row)(torch.eye(3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((16, "float31", (1,), (1,)), "float31"),
        ((16, "float32", (-1,), (1,)), "negative"),
        ((16, "float32", (2**31, 2**31), (1, 1)), "63 bits"),
        ((16, "complex128", (2**60,), (0,)), "63 bits"),
        ((0, "float32", (2,), (1,)), "no memory"),
        ((16, "float32", (2,), (1, 1)), "differ in number"),
        ((16, "float32", (1,) * 256, (1,) * 256), "too many dimensions"),
        ((16, "float32", (2,), (1,), True), "conjugate"),
        ((16, "bool", (2,), (1,), False, True), "negated"),
        ((16, "float8_e4m3fnuz", (2,), (1,), False, True), "negated"),
    ],
)
def test_a_view_that_cannot_be_is_refused_before_memory_is_touched(arguments, message):
    with pytest.raises(UnsupportedTensor, match=message):
        _core.View(*arguments)


def test_an_empty_tensor_may_have_sizes_whose_product_overflows():
    shape = (0, 2**40, 2**40)
    made = _core.View(0, "int64", shape, (0, 0, 0)).commit()
    assert made[1].hex() == reference("int64", shape, b"")[0]


def test_a_view_of_a_buffer_stays_inside_it():
    data = bytes(range(64))
    assert _core.View.from_buffer(data, "int16", (3, 2), 4).tobytes() == data[4:16]
    assert _core.View.from_buffer(data, "uint8", (0,), 64).tobytes() == b""
    for shape, offset in (((33,), 0), ((32,), 1), ((1,), 63), ((0,), 65), ((1,), 2**64 - 2)):
        with pytest.raises(UnsupportedTensor, match="beyond its buffer"):
            _core.View.from_buffer(data, "int16", shape, offset)
    with pytest.raises(ValueError):
        _core.View.from_buffer(np.zeros(8, np.uint8)[::2], "uint8", (4,))


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 200])
def test_salts_and_salted_digests_follow_the_formula(n):
    secret, tree, line = bytes(range(32)), 2, 2**40 + 3
    digests = [blake3.blake3(bytes([j % 256])).digest() for j in range(n)]
    salts = [
        blake3.blake3(
            secret + bytes([tree]) + line.to_bytes(8, "little") + j.to_bytes(8, "little"),
            derive_key_context="torchnotary 2026-11 salt v1",
        ).digest()
        for j in range(n)
    ]
    salted = [blake3.blake3(d, key=s).digest() for d, s in zip(digests, salts, strict=True)]
    assert _core.salts(secret, tree, line, n) == b"".join(salts)
    assert _core.salted(secret, tree, line, b"".join(digests)) == b"".join(salted)


def test_secrets_and_digests_of_another_length_are_refused():
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        _core.salts(bytes(31), 1, 0, 1)
    with pytest.raises(ValueError, match="not 33 together"):
        _core.salted(bytes(32), 1, 0, bytes(33))


@pytest.mark.parametrize("encoded", [b"n", b"b\x01", b"s" + b"text" * 2000])
def test_value_digests_follow_the_formula(encoded):
    expected = blake3.blake3(encoded, derive_key_context="torchnotary 2026-11 value v1")
    assert _core.value_digest(encoded) == expected.digest()


def test_is_tensor_knows_tensors_arrays_and_numpy_numbers_only():
    for value in (torch.zeros(1), torch.nn.Parameter(torch.zeros(1)), np.zeros(1), np.float32(1)):
        assert is_tensor(value)
    for value in (1.0, [1.0], "text", np.str_("text"), np.bytes_(b"x"), None):
        assert not is_tensor(value)


def test_importing_commitment_imports_neither_torch_nor_numpy():
    code = "import sys, torchnotary.commitment as c; assert not c.is_tensor(1); "
    code += "assert not {'torch', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_many_tensors_have_the_commitments_that_each_has_alone():
    draw = np.random.default_rng(7)
    tensors = [torch.from_numpy(draw.standard_normal((i % 5, i % 3, 8))) for i in range(60)]
    tensors += [torch.randn(40, 300).t(), torch.randn(3, 4, dtype=torch.complex64).conj()]
    tensors += [np.arange(9, dtype=">i4"), torch.tensor(True), torch.randn(2 << 20)]
    assert commit_many(iter(tensors)) == [commit(tensor) for tensor in tensors]
    assert commit_many([]) == []


def test_one_tensor_without_a_rule_among_many_is_refused():
    with pytest.raises(UnsupportedTensor, match="layout"):
        commit_many([torch.ones(2), torch.eye(2).to_mkldnn()])


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (16,),
        (16, b"float32", (0,), (1,), False, False),
        (16, "float32", [0], (1,), False, False),
    ],
)
def test_memory_described_by_other_fields_is_refused(fields):
    with pytest.raises((TypeError, IndexError)):
        _core.commit(fields, 1)


@pytest.mark.parametrize("offset, left", [(50, 0), (50, 200), (0, 16)])
def test_a_tensor_whose_storage_was_given_back_or_made_smaller_is_refused(offset, left):
    tensor = torch.zeros(1 << 20)[offset:]
    tensor.untyped_storage().resize_(left)
    with pytest.raises(UnsupportedTensor, match="beyond its storage|no memory"):
        commit(tensor)
    with pytest.raises(UnsupportedTensor, match="beyond its storage|no memory"):
        commit_many([tensor])


def test_a_small_tensor_at_an_offset_from_no_storage_is_refused():
    tensor = torch.zeros(100)[50:]
    tensor.untyped_storage().resize_(0)
    with pytest.raises(UnsupportedTensor, match="beyond its storage"):
        commit(tensor)


def test_what_a_subclass_says_of_itself_does_not_count():
    class Liar(torch.Tensor):
        shape = property(lambda self: (1 << 26,))

        def data_ptr(self):
            return 16

    tensor = torch.arange(4.0)
    assert commit(tensor.as_subclass(Liar)) == commit(tensor)


def test_an_array_of_elements_without_bytes_is_refused():
    with pytest.raises(UnsupportedTensor, match="dtype"):
        commit(np.zeros(3, "V0"))
