"""RFC 9162 trees against the RFC's own words, the public vectors and pymerkle."""

from __future__ import annotations

import base64
import hashlib
import json

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import VECTORS
from rfc9162_reference import consistency_roots, inclusion_root, mth, path, proof, sha
from torchnotary import MalformedProof, RootMismatch, _core, merkle

REFUSED = (MalformedProof, RootMismatch)


def entries(n: int) -> list[bytes]:
    return [b"entry %d" % i * (i % 7) for i in range(n)]


SIZES = [*range(1, 35), 63, 64, 65, 127, 128, 129]


def test_the_root_of_no_entries_is_the_hash_of_nothing():
    assert merkle.root([]) == hashlib.sha256(b"").digest()


def test_leaves_and_nodes_are_hashed_under_different_prefixes():
    assert merkle.leaf_hash(b"x") == sha(b"\0x")
    left, right = sha(b"l"), sha(b"r")
    assert _core.node_hash(left, right) == sha(b"\1" + left + right)


@pytest.mark.parametrize("size", SIZES)
def test_roots_and_proofs_equal_the_reference(size):
    d = entries(size)
    hashes = b"".join(merkle.leaf_hash(e) for e in d)
    assert merkle.root(d) == merkle.root(iter(d)) == _core.root_of_hashes(hashes) == mth(d)
    for i in range(size):
        assert merkle.inclusion_proof(d, i) == path(i, d)
        assert _core.inclusion_proof_of_hashes(hashes, i) == path(i, d)
        assert merkle.consistency_proof(d, i + 1) == proof(i + 1, d)
        assert _core.consistency_proof_of_hashes(hashes, i + 1) == proof(i + 1, d)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 31, 32, 33])
def test_roots_and_proof_hashes_equal_pymerkle_s(size):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    d = entries(size)
    for entry in d:
        tree.append_entry(entry)
    assert merkle.root(d) == tree.get_root()
    for i in range(size):
        theirs = {bytes.fromhex(h) for h in tree.prove_inclusion(i + 1).serialize()["path"]}
        assert {merkle.leaf_hash(d[i]), *merkle.inclusion_proof(d, i)} == theirs


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_proof_holds_for_its_leaf_and_for_no_other(size):
    d = entries(size)
    root = mth(d)
    for i in range(size):
        hashes = path(i, d)
        assert merkle.verify_inclusion(i, size, sha(b"\0" + d[i]), hashes, root) is None
        for other in {0, i - 1, i + 1, size - 1, size, size + 1} - {i}:
            with pytest.raises(REFUSED):
                merkle.verify_inclusion(other, size, sha(b"\0" + d[i]), hashes, root)


@pytest.mark.parametrize("size", SIZES)
def test_every_consistency_proof_holds_for_its_sizes_and_for_no_others(size):
    d = entries(size)
    root2 = mth(d)
    for m in range(1, size + 1):
        hashes, root1 = proof(m, d), mth(d[:m])
        assert merkle.verify_consistency(m, size, hashes, root1, root2) is None
        # Neighbours whose proofs lead through the same nodes are RFC 9162's to accept.
        for other in {1, m - 1, m + 1} - {m}:
            expected = consistency_roots(other, size, hashes, root1) if 0 < other < size else None
            if expected != (root1, root2):
                with pytest.raises(REFUSED):
                    merkle.verify_consistency(other, size, hashes, root1, root2)


def test_a_changed_hash_anywhere_in_a_proof_is_a_root_mismatch_carrying_both_roots():
    d = entries(13)
    root, leaf, hashes = mth(d), sha(b"\0" + d[6]), path(6, d)
    for k in range(len(hashes)):
        bad = [*hashes]
        bad[k] = bytes([bad[k][0] ^ 1]) + bad[k][1:]
        with pytest.raises(RootMismatch) as caught:
            merkle.verify_inclusion(6, 13, leaf, bad, root)
        assert caught.value.expected == root.hex()
        assert caught.value.actual == inclusion_root(6, 13, leaf, bad).hex()
    for m in (6, 8):
        hashes, root1 = proof(m, d), mth(d[:m])
        for k in range(len(hashes)):
            bad = [*hashes]
            bad[k] = bytes(32)
            with pytest.raises(RootMismatch):
                merkle.verify_consistency(m, 13, bad, root1, root)


@pytest.mark.parametrize("size1", range(1, 13))
def test_another_earlier_root_is_a_mismatch_although_the_proof_leads_to_the_later_one(size1):
    d = entries(13)
    other = mth([*d[: size1 - 1], b"never logged"])
    with pytest.raises(RootMismatch):
        merkle.verify_consistency(size1, 13, proof(size1, d), other, mth(d))
    with pytest.raises(RootMismatch):
        merkle.verify_consistency(size1, 13, proof(size1, d), mth(d[:size1]), other)


def test_a_claimed_root_that_differs_is_a_mismatch_even_where_the_proof_is_empty():
    leaf = merkle.leaf_hash(b"only")
    with pytest.raises(RootMismatch):
        merkle.verify_inclusion(0, 1, leaf, [], bytes(32))
    with pytest.raises(RootMismatch):
        merkle.verify_consistency(5, 5, [], leaf, bytes(32))


@pytest.mark.parametrize("change", ["shorter", "longer", "empty"])
def test_a_proof_of_another_length_than_its_sizes_allow_is_malformed(change):
    d = entries(13)

    def changed(hashes):
        return {"shorter": hashes[:-1], "longer": [*hashes, bytes(32)], "empty": []}[change]

    with pytest.raises(MalformedProof, match="number of hashes"):
        merkle.verify_inclusion(6, 13, sha(b"\0" + d[6]), changed(path(6, d)), mth(d))
    with pytest.raises(MalformedProof, match="number of hashes"):
        merkle.verify_consistency(6, 13, changed(proof(6, d)), mth(d[:6]), mth(d))


@pytest.mark.parametrize("index, size", [(0, 0), (5, 5), (6, 5), (-1, 5), (2**64, 5), (0, 2**64)])
def test_an_index_outside_the_tree_is_malformed(index, size):
    for length in range(70):  # out of range, no proof has the right length
        with pytest.raises(MalformedProof):
            merkle.verify_inclusion(index, size, bytes(32), [bytes(32)] * length, bytes(32))
    with pytest.raises(MalformedProof):
        merkle.inclusion_proof(entries(size if size < 10 else 1), index or 1)


@pytest.mark.parametrize("size1, size2", [(0, 0), (0, 5), (6, 5), (-1, 5), (2**64, 2**64)])
def test_sizes_that_are_no_growing_tree_are_malformed(size1, size2):
    for length in range(70):
        with pytest.raises(MalformedProof):
            merkle.verify_consistency(size1, size2, [bytes(32)] * length, bytes(32), bytes(32))
    with pytest.raises(MalformedProof):
        merkle.consistency_proof(entries(5), size1)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_hash_of_another_length_is_malformed_wherever_it_stands(length):
    d, bad = entries(3), bytes(length)
    root, leaf = mth(d), sha(b"\0" + d[1])
    for arguments in (
        (1, 3, bad, path(1, d), root),
        (1, 3, leaf, [bad, path(1, d)[1]], root),
        (1, 3, leaf, path(1, d), bad),
    ):
        with pytest.raises(MalformedProof, match="32 bytes"):
            merkle.verify_inclusion(*arguments)
    for arguments in (
        (2, 3, [bad], mth(d[:2]), root),
        (2, 3, proof(2, d), bad, root),
        (2, 3, proof(2, d), mth(d[:2]), bad),
    ):
        with pytest.raises(MalformedProof, match="32 bytes"):
            merkle.verify_consistency(*arguments)


_size = st.one_of(
    st.integers(1, 2**64 - 1),
    st.builds(
        lambda k, d: max(1, min(2**64 - 1, 2**k + d)), st.integers(0, 64), st.integers(-2, 2)
    ),
)
# More than any proof needs: the longest, over 2^64 - 1 leaves, has 64 hashes, 65 with a seed.
_HASHES = [sha(bytes([i])) for i in range(67)]
_LEAF = sha(b"leaf")


def _root_and_proof_length(root_of):
    for length in range(len(_HASHES) + 1):
        root = root_of(_HASHES[:length])
        if root is not None:
            return root, length
    raise AssertionError("the reference takes no proof for these sizes")


@given(_size, st.integers(0, 2**64))
@settings(max_examples=400, deadline=None)
def test_inclusion_roots_equal_the_rfc_s_algorithm_up_to_the_largest_sizes(size, at):
    index = at % size
    root, length = _root_and_proof_length(lambda hashes: inclusion_root(index, size, _LEAF, hashes))
    assert _core.inclusion_root(index, size, _LEAF, _HASHES[:length]) == root
    for other in {length - 1, length + 1} - {-1}:
        with pytest.raises(MalformedProof):
            _core.inclusion_root(index, size, _LEAF, _HASHES[:other])


@given(_size, st.integers(0, 2**64))
@settings(max_examples=400, deadline=None)
def test_consistency_roots_equal_the_rfc_s_algorithm_up_to_the_largest_sizes(size2, at):
    size1 = at % size2 + 1
    if size1 == size2:
        roots, length = (_LEAF, _LEAF), 0
    else:
        roots, length = _root_and_proof_length(
            lambda hashes: consistency_roots(size1, size2, hashes, _LEAF)
        )
    assert _core.consistency_roots(size1, size2, _HASHES[:length], _LEAF) == roots
    for other in {length - 1, length + 1} - {-1}:
        with pytest.raises(MalformedProof):
            _core.consistency_roots(size1, size2, _HASHES[:other], _LEAF)


def _files(kind: str):
    folder = VECTORS / "rfc9162" / kind
    files = sorted(folder.rglob("*.json")) if folder.is_dir() else []
    if files:
        return [pytest.param(f, id=f"{f.parent.name}/{f.stem}") for f in files]
    absent = pytest.mark.skip(reason=f"the RFC 9162 vectors are absent: no folder {folder}")
    return [pytest.param(None, marks=absent, id="absent")]


def _decode(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("file", _files("inclusion"))
def test_public_inclusion_vectors(file):
    case = json.loads(file.read_text())
    arguments = (
        case["leafIdx"],
        case["treeSize"],
        _decode(case["leafHash"]),
        [_decode(p) for p in case["proof"] or []],
        _decode(case["root"]),
    )
    if case["wantErr"]:
        with pytest.raises(REFUSED):
            merkle.verify_inclusion(*arguments)
    else:
        merkle.verify_inclusion(*arguments)


@pytest.mark.parametrize("file", _files("consistency"))
def test_public_consistency_vectors(file):
    case = json.loads(file.read_text())
    arguments = (
        case["size1"],
        case["size2"],
        [_decode(p) for p in case["proof"] or []],
        _decode(case["root1"]),
        _decode(case["root2"]),
    )
    if case["wantErr"]:
        with pytest.raises(REFUSED):
            merkle.verify_consistency(*arguments)
    else:
        merkle.verify_consistency(*arguments)


def test_a_buffer_with_gaps_is_a_type_error_wherever_bytes_are_taken():
    gaps, hashed = memoryview(bytes(64))[::2], bytes(32)
    for call in (
        lambda: merkle.leaf_hash(gaps),
        lambda: merkle.root([gaps]),
        lambda: merkle.inclusion_proof([gaps, b""], 0),
        lambda: merkle.consistency_proof([gaps, b""], 1),
        lambda: merkle.verify_inclusion(0, 2, gaps, [hashed], hashed),
        lambda: merkle.verify_inclusion(0, 2, hashed, [gaps], hashed),
        lambda: merkle.verify_consistency(1, 2, [gaps], hashed, hashed),
    ):
        with pytest.raises(TypeError, match="contiguous"):
            call()
