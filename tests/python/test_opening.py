"""Openings of unsalted tensors: what they show is the committed tensor's, and has one encoding."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import blake3
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import opening_reference as reference
import torchnotary.opening
from test_commitment import DTYPES, random_bits, tensors, torch_bytes
from torchnotary import (
    MalformedProof,
    NotaryError,
    Opening,
    RootMismatch,
    UnsupportedIndex,
    UnsupportedTensor,
    _core,
    commit,
)
from torchnotary.indexing import as_index, canonical_items, parse_index


def opened(tensor, index) -> Opening:
    return commit(tensor).open(tensor, index)


def data_of(n: int) -> bytes:
    return random.Random(n).randbytes(n)


def bytes_tensor(n: int):
    return (
        torch.frombuffer(bytearray(data_of(n)), dtype=torch.uint8) if n else torch.empty(0).byte()
    )


BOUNDARIES = (1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 3073, 4095, 4096, 4097, 8192, 8193)


@pytest.mark.parametrize("n", BOUNDARIES)
def test_an_opening_is_the_bytes_that_the_grammar_says(n):
    tensor, data = bytes_tensor(n), data_of(n)
    assert reference.data_root(data) == blake3.blake3(data).digest()
    places = sorted({0, 1, 1023, 1024, n // 2, n - 1} & set(range(n)))
    indices = [*places, slice(None), slice(0, 0), slice(n // 3, n // 3 + 1), slice(1, None)]
    indices += [slice(None, None, 1000), slice(5, None, 1024), slice(0, -1), slice(-1, None)]
    indices += [
        slice(1023, None, 1025),
        slice(1023, None, 1024),
    ]  # which leave a chunk out, or none
    for index in indices:
        opening = opened(tensor, index)
        items = canonical_items(index, tensor.shape)
        assert opening.encode() == reference.encode("uint8", 1, (n,), data, items)
        shown = opening.verify_bytes(reference.digest("uint8", (n,), data))
        assert shown == bytes(data[i] for i in reference.selected_bytes(1, (n,), items))


@pytest.mark.parametrize("shape", [(0,), (), (3, 0), (0, 3, 5), (1, 1)])
@pytest.mark.parametrize("name", ["float32", "bool", "complex128"])
def test_tensors_of_no_element_and_of_one_open(name, shape):
    tensor = random_bits(DTYPES[name], shape)
    opening = opened(tensor, ...)
    items = canonical_items(..., shape)
    data = torch_bytes(tensor)
    assert opening.encode() == reference.encode(name, tensor.element_size(), shape, data, items)
    assert Opening.decode(opening.encode()).verify(commit(tensor)).shape == shape


@st.composite
def indices(draw, shape):
    """Whatever torch takes that selects a regular region of a tensor of that shape."""

    def bound(size):
        return st.none() | st.integers(-2 * size - 2, 2 * size + 2)

    items = []
    for size in shape[: draw(st.integers(0, len(shape)))]:
        integer = draw(st.booleans()) and size
        items.append(
            draw(st.integers(-size, size - 1))
            if integer
            else slice(draw(bound(size)), draw(bound(size)), draw(st.none() | st.integers(1, 4)))
        )
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
        # What follows an Ellipsis is counted from the end, whose axes have other sizes.
        items = [slice(None) if isinstance(i, int) else i for i in items]
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return items[0] if len(items) == 1 and draw(st.booleans()) else tuple(items)


@given(tensors(), st.data())
@settings(max_examples=400, deadline=None)
def test_what_an_opening_shows_is_what_torch_selects_and_as_the_grammar_says(tensor, data):
    index = data.draw(indices(tensor.shape))
    selected = tensor[index]
    opening = opened(tensor, index)
    again = Opening.decode(opening.encode())
    assert again.encode() == opening.encode() and again == opening
    assert again.selected_shape == tuple(selected.shape)
    assert again.verify_bytes(commit(tensor)) == torch_bytes(selected)
    shown = again.verify(commit(tensor).digest)
    assert (shown.dtype, shown.shape) == (selected.dtype, selected.shape)
    assert torch_bytes(shown) == torch_bytes(selected)
    assert tensor[again.index].shape == selected.shape
    assert canonical_items(again.index, tensor.shape) == canonical_items(index, tensor.shape)
    name, items = opening.dtype, canonical_items(index, tensor.shape)
    content = torch_bytes(tensor)
    if len(content) <= 4096:
        size = tensor.element_size()
        assert opening.encode() == reference.encode(name, size, tensor.shape, content, items)


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_dtype_opens(name):
    tensor = random_bits(DTYPES[name], (40, 70))
    for index in (3, (slice(1, 40, 7), slice(2, 60)), (slice(None), 5)):
        assert opened(tensor, index).verify_bytes(commit(tensor)) == torch_bytes(tensor[index])


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(900, 700).t(),
        lambda: torch.randn(64, 3, 50, 70).to(memory_format=torch.channels_last),
        lambda: torch.randn(1100, 600, dtype=torch.complex64).conj(),
        lambda: torch.randn(2000, 1500)[::2, 1::3],
    ],
)
def test_strided_tensors_open_as_their_copies(make):
    tensor = make()
    for index in (5, (slice(3, None, 300), slice(7, 9)), (..., 1), slice(0, 0)):
        whole = tensor.resolve_conj().contiguous()
        assert opened(tensor, index).encode() == opened(whole, index).encode()
        assert opened(tensor, index).verify_bytes(commit(whole)) == torch_bytes(tensor[index])


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_the_number_of_threads_never_shows(threads, monkeypatch):
    tensor = torch.arange(3_000_000).reshape(3000, 1000)
    expected = [(index, opened(tensor, index).encode()) for index in (7, slice(100, 2900))]
    monkeypatch.setenv("TORCHNOTARY_NUM_THREADS", threads)
    for index, encoded in expected:
        assert opened(tensor, index).encode() == encoded
        assert opened(tensor.t().contiguous().t(), index).encode() == encoded
        assert Opening.decode(encoded).verify(commit(tensor)).equal(tensor[index])


def test_numpy_arrays_open_too():
    array = np.arange(6000, dtype=np.int32).reshape(60, 100)
    assert np.array_equal(opened(array, (3, slice(5, 9))).verify(commit(array)), array[3, 5:9])
    assert opened(array.T, np.int64(3)).encode() == opened(array.T.copy(), 3).encode()


def test_a_row_of_a_large_weight_adds_two_chunks_and_a_node_a_level():
    tensor = torch.arange(1 << 24, dtype=torch.float32).reshape(-1, 1024)  # 64 MiB: 2^16 chunks
    for row in (0, 1, 7777, 16383):
        opening = opened(tensor, row)
        beside = len(opening.encode()) - 4096
        assert beside < 2 * 1024 + 16 * 32 + 200
        assert opening.verify(commit(tensor)).equal(tensor[row])


def test_elements_beyond_4_gib_open():
    array = np.zeros((1 << 22) + 3, dtype="V1024").view(np.uint8)  # untouched pages take no memory
    array[-1500], array[-1], array[1 << 32] = 7, 9, 5
    for index, shown in ((slice(-1500, None, 1499), b"\x07\x09"), (1 << 32, b"\x05")):
        opening = opened(array, index)
        assert opening.verify_bytes(commit(array)) == shown
        assert len(opening.encode()) < 4000


def small_opening():
    tensor = torch.arange(300, dtype=torch.int64).reshape(20, 15)  # 2,400 bytes: three chunks
    return tensor, opened(tensor, (9, slice(1, 9, 3)))


def assert_refused(encoded: bytes, commitment) -> None:
    with pytest.raises((MalformedProof, RootMismatch)) as caught:
        Opening.decode(encoded).verify_bytes(commitment)
    assert caught.value.next_step


def test_every_bit_of_an_opening_counts():
    tensor, opening = small_opening()
    encoded, commitment = opening.encode(), commit(tensor)
    Opening.decode(encoded).verify(commitment)
    shown = opening.verify_bytes(commitment)
    for place in range(8 * len(encoded)):
        changed = bytearray(encoded)
        changed[place // 8] ^= 1 << place % 8
        try:
            other = Opening.decode(bytes(changed))
            values = other.verify_bytes(commitment)
        except (MalformedProof, RootMismatch):
            continue
        # Another index that the same chunks show is another true opening, and says so.
        assert other.index != opening.index
        assert values == torch_bytes(tensor[other.index]) != shown


def test_every_truncation_and_every_longer_opening_is_malformed():
    _, opening = small_opening()
    encoded = opening.encode()
    for length in range(len(encoded)):
        with pytest.raises(MalformedProof, match="byte"):
            Opening.decode(encoded[:length])
    for more in (b"\0", b"\n", encoded, bytes(32)):
        with pytest.raises(MalformedProof, match=f"byte {len(encoded)}"):
            Opening.decode(encoded + more)


def nodes_of(opening: Opening) -> tuple[bytes, list[bytes]]:
    """Head and nodes of an opening of one chunk: every node is 32 bytes but for that chunk."""
    encoded = opening.encode()
    size = opening._core.proof_nbytes
    return encoded[: len(encoded) - size], encoded[len(encoded) - size :]


def test_nodes_in_another_order_lead_elsewhere():
    tensor = bytes_tensor(16 * 1024)
    opening = opened(tensor, slice(0, 10))  # the first chunk, then four chaining values
    head, proof = nodes_of(opening)
    chunk, values = proof[:1024], [proof[1024 + 32 * i :][:32] for i in range(4)]
    assert head + chunk + b"".join(values) == opening.encode()
    for order in ((1, 0, 2, 3), (0, 1, 3, 2), (3, 2, 1, 0)):
        moved = head + chunk + b"".join(values[i] for i in order)
        with pytest.raises(RootMismatch, match="another data root"):
            Opening.decode(moved).verify_bytes(commit(tensor))
    with pytest.raises(RootMismatch, match="another data root"):
        Opening.decode(head + values[0] + chunk + b"".join(values[1:])).verify_bytes(commit(tensor))


def test_chunks_shown_at_another_place_lead_elsewhere():
    """BLAKE3 counts chunks: equal bytes at another place have another chaining value."""
    tensor = torch.zeros(8 * 1024, dtype=torch.uint8)
    first, fourth = opened(tensor, 5), opened(tensor, 4 * 1024 + 5)
    head, proof = nodes_of(first)
    assert nodes_of(fourth)[1] != proof
    other = nodes_of(fourth)[0] + proof
    with pytest.raises((RootMismatch, MalformedProof)):
        Opening.decode(other).verify_bytes(commit(tensor))


def test_an_opening_of_another_tensor_of_the_same_shape_is_refused_with_both_digests():
    ours, theirs = torch.zeros(100, 100), torch.zeros(100, 100)
    theirs[99, 99] = -0.0
    with pytest.raises(RootMismatch) as caught:
        opened(theirs, 3).verify(commit(ours))
    assert caught.value.expected == commit(ours).digest
    assert caught.value.actual == commit(theirs).digest


def test_the_same_bytes_under_another_dtype_or_shape_do_not_open():
    tensor = torch.arange(600, dtype=torch.int32)
    for other in (tensor.view(torch.float32), tensor.reshape(20, 30), tensor.view(torch.uint8)):
        with pytest.raises(RootMismatch):
            opened(other, 0).verify(commit(tensor))


def test_a_proof_of_one_tensor_under_the_root_of_another_is_refused_with_both_roots():
    ours, theirs = bytes_tensor(5000), bytes_tensor(5000).flip(0)
    head, _ = nodes_of(opened(ours, slice(0, 9)))
    _, proof = nodes_of(opened(theirs, slice(0, 9)))
    with pytest.raises(RootMismatch) as caught:
        Opening.decode(head + proof).verify_bytes(commit(ours))
    assert caught.value.expected == commit(ours).data_root
    assert caught.value.actual == commit(theirs).data_root


def test_opening_another_tensor_than_the_committed_one_raises():
    commitment = commit(torch.zeros(5, 5))
    with pytest.raises(RootMismatch) as caught:
        commitment.open(torch.ones(5, 5), 0)
    assert caught.value.expected == commitment.digest


def head_with(dtype="uint8", shape=(2048,), nbytes=None, items=((0, 2048, 1),)) -> bytes:
    size = int(np.prod(shape, dtype=object)) if nbytes is None else nbytes
    head = b"torchnotary opening/1\n" + reference.header(dtype, shape, size % 2**64) + bytes(32)
    return head + reference.encode_items(items)


@pytest.mark.parametrize(
    "items, cause",
    [
        ([(2048,)], "beyond its axis"),
        ([(2**64 - 1,)], "beyond its axis"),
        ([(0, 2049, 1)], "beyond its axis"),
        ([(2047, 2, 1)], "beyond its axis"),
        ([(2048, 1, 1)], "beyond its axis"),
        ([(0, 2, 2048)], "beyond its axis"),
        ([(1, 2**63, 2)], "beyond its axis"),
        ([(0, 3, 2**63)], "beyond its axis"),
        ([(0, 2**64 - 1, 2**64 - 1)], "beyond its axis"),
        ([(2**64 - 1, 2, 2)], "beyond its axis"),
        ([(0, 2, 0)], "step of 0"),
        ([(1, 0, 1)], "nothing is selected"),
        ([(0, 0, 2)], "fewer than two"),
        ([(0, 1, 2)], "fewer than two"),
        ([(5, 1, 0)], "fewer than two"),
        ([], "without an item"),
        ([None], "without an item"),
        ([(0,), (0,)], "lacks"),
        ([(0,), None, (0, 0, 1)], "lacks"),
        ([None] * 255 + [(0, 2048, 1)], "255"),
    ],
)
def test_an_index_in_another_form_than_the_canonical_one_is_malformed(items, cause):
    with pytest.raises(MalformedProof, match=f"byte .*{cause}"):
        Opening.decode(head_with(items=items) + bytes(2048))


def test_255_new_axes_and_an_integer_are_as_many_as_a_tensor_has():
    tensor = bytes_tensor(100)
    opening = opened(tensor, (None,) * 255 + (3,))
    assert Opening.decode(opening.encode()).selected_shape == (1,) * 255
    with pytest.raises(MalformedProof, match="255"):
        opened(tensor, (None,) * 256 + (3,))


@pytest.mark.parametrize(
    "head, cause",
    [
        (b"torchnotary opening/2\n", "version"),
        (b"PK\x03\x04" + bytes(100), "version"),
        (head_with(dtype="float33"), "no commitment rule"),
        (head_with(dtype="Uint8"), "no commitment rule"),
        (head_with(dtype=""), "no commitment rule"),
        (head_with(nbytes=2047), "number of data bytes"),
        (head_with(shape=(2**63,), nbytes=2**63, items=[(0,)]), "2\\^63"),
        (head_with(dtype="int64", shape=(2**60,), items=[(0,)]), "2\\^63"),
        (head_with(shape=(2**32, 2**32), items=[(0,), (0,)]), "2\\^63"),
        (head_with(shape=(2**62, 4), items=[(0,), (0,)]), "2\\^63"),
        (head_with(items=[])[:-2] + b"\x01\x00\x03", "unknown kind"),
    ],
)
def test_a_head_that_no_opening_has_is_malformed(head, cause):
    with pytest.raises(MalformedProof, match=cause):
        Opening.decode(head)


@pytest.mark.parametrize(
    "shape, items",
    [
        ((2**62,), [(0, 2**62, 1)]),
        ((2**62,), [(0, 2**61, 2)]),
        ((2**31, 2**31), [(0, 2**31, 1), (7,)]),
        ((2,) * 62, [(0, 2, 1)] * 61 + [(1,)]),
    ],
)
def test_an_opening_that_claims_exabytes_is_refused_by_the_bytes_it_has(shape, items):
    for proof in (b"", bytes(2000), bytes(100_000)):
        with pytest.raises(MalformedProof, match="ends inside its proof"):
            Opening.decode(head_with(shape=shape, items=items) + proof)


def test_no_elements_of_a_tensor_of_many_sizes_open():
    tensor = torch.empty(2**40, 0, 2**40)
    opening = opened(tensor, (slice(3, 2**30), ..., slice(0, 2**40, 2**20)))
    assert opening.verify(commit(tensor)).shape == (2**30 - 3, 0, 2**20)
    assert len(opening.encode()) < 200


def test_a_bool_that_was_committed_as_2_is_no_bool():
    data = bytes([0, 1, 2, 1])
    encoded = reference.encode("bool", 1, (4,), data, [(0, 4, 1)])
    with pytest.raises(MalformedProof, match="bool"):
        Opening.decode(encoded).verify_bytes(reference.digest("bool", (4,), data))
    encoded = reference.encode("bool", 1, (4,), data, [(3,)])
    assert Opening.decode(encoded).verify_bytes(reference.digest("bool", (4,), data)) == b"\x01"


@pytest.mark.parametrize(
    "index",
    [
        True,
        (0, False),
        np.True_,
        [0, 1],
        (slice(None), [1]),
        torch.tensor([0, 1]),
        torch.tensor(1),
        np.array([1]),
        np.array(1),
        torch.tensor([True, False]),
        range(2),
        1.0,
        "1",
        slice(None, None, -1),
        slice(None, None, 0),
        slice(0.5, None),
        slice("a"),
        4,
        -5,
        (0, 3),
        (0, -4),
        (0, 0, 0),
        (..., 0, ...),
        2**70,
    ],
    ids=repr,
)
def test_an_index_that_selects_no_regular_region_is_refused_with_what_is_accepted(index):
    tensor = torch.zeros(4, 3)
    with pytest.raises(UnsupportedIndex) as caught:
        commit(tensor).open(tensor, index)
    assert "slices of a step of 1 or more" in caught.value.next_step


def test_an_index_of_an_axis_without_elements_is_refused():
    with pytest.raises(UnsupportedIndex):
        opened(torch.zeros(0, 3), 0)


@pytest.mark.parametrize(
    "text, index",
    [
        ("3", (3,)),
        (" 3, :, ::2 ", (3, slice(None), slice(None, None, 2))),
        ("-1,1:,:-2,1:9:3", (-1, slice(1, None), slice(None, -2), slice(1, 9, 3))),
        ("...,None,0", (..., None, 0)),
        ("3,", (3,)),
        ("", ()),
    ],
)
def test_a_typed_index_is_read_as_python_reads_it(text, index):
    assert parse_index(text) == index


@pytest.mark.parametrize("text", ["a", "1.5", "1:2:3:4", ",", "1,,2", "[0, 1]", "0x3", "True"])
def test_a_typed_index_that_is_none_is_refused(text):
    with pytest.raises(UnsupportedIndex):
        parse_index(text)


def test_an_index_and_its_items_say_the_same():
    shape = (5, 0, 7)
    index = (4, slice(0, 0), None, slice(1, 6, 4))
    assert canonical_items(index, shape) == [(4,), (0, 0, 1), None, (1, 2, 4)]
    assert as_index(canonical_items(index, shape)) == index


@pytest.mark.parametrize("text", ["", "ab" * 31, "AB" * 32, "ab" * 33, "zz" * 32])
def test_a_commitment_that_is_no_digest_is_refused(text):
    _, opening = small_opening()
    with pytest.raises(NotaryError, match="64 hexadecimal digits"):
        opening.verify(text)


def test_openings_are_saved_and_loaded(tmp_path):
    tensor, opening = small_opening()
    path = tmp_path / "row.opening"
    opening.save(path)
    assert path.read_bytes() == opening.encode()
    assert Opening.load(path) == opening
    assert [p.name for p in tmp_path.iterdir()] == ["row.opening"]
    path.write_bytes(opening.encode() + b"\0")
    with pytest.raises(MalformedProof, match=f"row.opening.*byte {len(opening.encode())}"):
        Opening.load(path)
    path.write_bytes(opening.encode()[:-1])
    with pytest.raises(MalformedProof, match="row.opening.*byte"):
        Opening.load(path)


def test_a_file_that_is_no_opening_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as stream:
        stream.write(small_opening()[1].encode())
        stream.truncate(1 << 40)  # sparse: reading it all would fill the memory
    with pytest.raises(MalformedProof, match="large.*goes on"):
        Opening.load(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError):
        Opening.load(tmp_path / "pipe")


def test_bytes_are_verified_without_torch_and_numpy(tmp_path):
    tensor, opening = small_opening()
    opening.save(tmp_path / "x.opening")
    code = (
        "import sys, torchnotary\n"
        "opening = torchnotary.Opening.load(sys.argv[1])\n"
        "print(opening.verify_bytes(sys.argv[2]).hex())\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, tmp_path / "x.opening", commit(tensor).digest]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == torch_bytes(tensor[9, 1:9:3]).hex()


@pytest.mark.parametrize("layout", ["sparse_coo", "nested_strided"])
def test_a_tensor_of_several_components_has_no_openings_and_says_so(layout):
    if layout == "sparse_coo":
        tensor = torch.eye(3).to_sparse()
    else:
        tensor = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    with pytest.raises(UnsupportedTensor, match="several components") as refused:
        commit(tensor).open(tensor, 0)
    assert refused.value.actual == layout


def test_an_opening_larger_than_may_be_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "large.opening"
    opening = commit(torch.zeros(1 << 16)).open(torch.zeros(1 << 16), ...)
    opening.save(path)
    monkeypatch.setattr(torchnotary.opening, "MAX_FILE_BYTES", 1 << 17)
    with pytest.raises(MalformedProof, match="large.opening: an opening has at most 131072 bytes"):
        Opening.load(path)
    with pytest.raises(MalformedProof, match="at most 131072 bytes"):
        opening.save(tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_opening_of_sizes_that_no_library_takes_still_shows_its_bytes():
    shape = (0, 2**40, 2**40)
    view = _core.View(0, "uint8", shape, (0, 0, 0))
    opening = Opening(_core.Opening(view, [(0, 0, 1), (0, 2**40, 1), (0, 2**40, 1)]))
    assert opening.selected_shape == shape
    assert opening.verify_bytes(opening.digest) == b""
    with pytest.raises(UnsupportedTensor, match="sizes"):
        opening.verify(opening.digest)
