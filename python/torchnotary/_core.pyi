"""
Hashing, trees and tensor commitments of torchnotary; needs no torch.
"""
from __future__ import annotations
import collections.abc
import typing
import typing_extensions
__all__: list[str] = ['Blake3', 'Difference', 'FileState', 'MemorySnapshot', 'Opening', 'StoredTensor', 'View', 'blake3', 'blake3_many', 'commit', 'commit_files', 'commit_many', 'consistency_proof', 'consistency_proof_of_hashes', 'consistency_roots', 'cpu_path', 'extend_tree', 'fill_lines', 'fits_a_line', 'inclusion_proof', 'inclusion_proof_of_hashes', 'inclusion_root', 'itemsize', 'leaf_hash', 'node_hash', 'opening_size', 'read_safetensors_header', 'root', 'root_of_hashes', 'salted', 'salted_root', 'salts', 'set_variables', 'sha256', 'sha256_lines', 'sha256_many', 'stored_dtypes', 'value_digest']
class Blake3:
    """
    BLAKE3 in pieces; threads may share it.
    """
    def __init__(self, key: typing_extensions.Buffer | None = None, context: str | None = None) -> None:
        """
        As for `blake3`.
        """
    def digest(self, length: typing.SupportsInt | typing.SupportsIndex = 32, seek: typing.SupportsInt | typing.SupportsIndex = 0) -> bytes:
        """
        `length` bytes of the output over the input so far, from position `seek` on.
        """
    def update(self, data: typing_extensions.Buffer, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> None:
        """
        Appends a contiguous buffer to the input.
        """
class View:
    """
    A tensor in borrowed memory, which `owner` keeps alive.
    """
    @staticmethod
    def from_buffer(data: typing_extensions.Buffer, dtype: str, shape: tuple, offset: typing.SupportsInt | typing.SupportsIndex = 0) -> View:
        """
        A row-major tensor, `offset` bytes into a contiguous buffer that it holds.
        Raises UnsupportedTensor where it reaches beyond the buffer.
        """
    def __init__(self, ptr: typing.SupportsInt | typing.SupportsIndex, dtype: str, shape: tuple, strides: tuple, conj: bool = False, neg: bool = False, owner: typing.Any = None) -> None:
        """
        `ptr` is the address of element 0, 0, …; sizes and strides count elements; `dtype` is
        torch's name. Raises UnsupportedTensor where there is no commitment rule.
        """
    def commit(self, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> tuple[bytes, bytes]:
        """
        (data root, digest), 32 bytes each.
        """
    def row_digests(self, max_rows: typing.SupportsInt | typing.SupportsIndex = 4096, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> bytes:
        """
        The digests of the rows of axis 0, 32 bytes each in one; more than `max_rows` are cut
        into equal runs. Raises UnsupportedTensor for rank < 2 and for no rows.
        """
    def tobytes(self) -> bytes:
        """
        The data bytes: row-major, little-endian.
        """
    @property
    def dtype(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def shape(self) -> tuple[int, ...]:
        ...
class StoredTensor:
    """
    A row-major, little-endian tensor in a file.
    """
    def __init__(self, name: str, dtype: str, shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], begin: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        `dtype` is torch's name; `begin` is the tensor's first byte in the file.
        Raises UnsupportedTensor for another dtype and for more than 2^63 - 1 bytes.
        """
    @property
    def begin(self) -> int:
        ...
    @property
    def dtype(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def nbytes(self) -> int:
        ...
    @property
    def shape(self) -> list[int]:
        ...
class FileState:
    """
    What tells one state of a file from another.
    """
    __hash__: typing.ClassVar[None] = None
    def __eq__(self, arg0: FileState) -> bool:
        ...
    def __init__(self, descriptor: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        The state of an open file. Raises OSError.
        """
    @property
    def size(self) -> int:
        ...
class Opening:
    """
    Elements of a tensor with their proof; unverified.
    """
    @typing.overload
    def __init__(self, view: View, items: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] | None], threads: typing.SupportsInt | typing.SupportsIndex = 1) -> None:
        """
        Opens what `items` select: for every axis (index,) or (start, count, step), and None
        for a new axis. Raises MalformedProof for items that do not fit or are not canonical.
        """
    @typing.overload
    def __init__(self, path: bytes, state: FileState, tensor: StoredTensor, items: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] | None], threads: typing.SupportsInt | typing.SupportsIndex = 1) -> None:
        """
        The same of a tensor in a file, which is read piece by piece. Raises OSError where it
        cannot be read and MalformedRecord where it changed, too.
        """
    @typing.overload
    def __init__(self, encoded: typing_extensions.Buffer) -> None:
        """
        Decodes an opening. Raises MalformedProof, naming the byte, where it is none.
        """
    def digest(self) -> bytes:
        """
        Digest (32 bytes) of the tensor it claims to be of.
        """
    def encode(self) -> bytes:
        """
        The bytes of the opening.
        """
    def implied_root(self, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> bytes:
        """
        The data root (32 bytes) that the proof implies; comparing is the caller's.
        """
    def tobytes(self) -> bytes:
        """
        The selected elements: row-major, little-endian. Raises MalformedProof for a bool
        that is neither 0 nor 1.
        """
    @property
    def data_root(self) -> bytes:
        ...
    @property
    def dtype(self) -> str:
        ...
    @property
    def items(self) -> list[list[int] | None]:
        ...
    @property
    def proof_nbytes(self) -> int:
        ...
    @property
    def selected_shape(self) -> tuple[int, ...]:
        ...
    @property
    def shape(self) -> tuple[int, ...]:
        ...
class Difference:
    """
    How far apart two tensors are.
    """
    def __init__(self, dtype: str) -> None:
        """
        `dtype` is torch's name.
        """
    def add(self, before: typing_extensions.Buffer, after: typing_extensions.Buffer) -> None:
        """
        Compares elements in row-major order; again for those that follow. Raises NotaryError
        unless both buffers hold the same whole number of elements.
        """
    @property
    def differing(self) -> int:
        ...
    @property
    def histogram(self) -> typing.Annotated[list[int], "FixedSize(65)"]:
        """
        Elements by that number: none, then from 2^(i-1) to below 2^i.
        """
    @property
    def largest(self) -> float | None:
        ...
    @property
    def scale(self) -> float:
        """
        The largest finite value on the first side, 0 for integers.
        """
    @property
    def ulps(self) -> int:
        """
        Values that can be represented between two finite elements, at most.
        """
    @property
    def undefined(self) -> int:
        ...
class MemorySnapshot:
    """
    The memory of objects themselves, beyond what every object has.
    """
    def __init__(self, objects: list) -> None:
        ...
    def holds(self) -> bool:
        """
        Whether it is, byte for byte, as it was.
        """
def blake3(data: typing_extensions.Buffer, key: typing_extensions.Buffer | None = None, context: str | None = None, length: typing.SupportsInt | typing.SupportsIndex = 32, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> bytes:
    """
    BLAKE3 of a contiguous buffer: `length` bytes of the hash, of the keyed hash (`key`, 32
    bytes) or of derive-key (`context`). Raises ValueError for another key length or both.
    """
def blake3_many(buffers: collections.abc.Iterable, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> list[bytes]:
    """
    The 32-byte BLAKE3 hashes of contiguous buffers, those of equal length side by side.
    """
def commit(memory: tuple, threads: typing.SupportsInt | typing.SupportsIndex) -> tuple[str, str, str, tuple[int, ...], int, str]:
    """
    (digest, data root, dtype, shape, nbytes, layout), digests in hex, of memory that the
    caller keeps alive, given as (ptr, dtype, shape, strides, conj, neg): a View and its
    commit() in one.
    """
def commit_files(files: collections.abc.Sequence[tuple[bytes, FileState, collections.abc.Sequence[StoredTensor]]], threads: typing.SupportsInt | typing.SupportsIndex = 1, finished: collections.abc.Callable | None = None) -> tuple[bytes, bytes]:
    """
    The data roots and the digests (32 bytes each in one) of the tensors of files, each of
    which is (path, state, its tensors ascending by `begin`); finished(i) is called after
    the i-th tensor of all. Raises MalformedRecord for a file that changed, OSError for one
    that cannot be read.
    """
def commit_many(memories: list, threads: typing.SupportsInt | typing.SupportsIndex) -> list[tuple[str, str, str, tuple[int, ...], int, str]]:
    """
    `commit` of each memory of a list, small ones hashed side by side.
    """
def consistency_proof(leaves: collections.abc.Iterable, size1: typing.SupportsInt | typing.SupportsIndex) -> list[bytes]:
    """
    The proof that the first `size1` entries are a prefix (RFC 9162 §2.1.4.1).
    Raises MalformedProof unless 0 < `size1` ≤ the number of entries.
    """
def consistency_proof_of_hashes(hashes: typing_extensions.Buffer, size1: typing.SupportsInt | typing.SupportsIndex) -> list[bytes]:
    """
    `consistency_proof` over leaf hashes, 32 bytes each in one buffer.
    """
def consistency_roots(size1: typing.SupportsInt | typing.SupportsIndex, size2: typing.SupportsInt | typing.SupportsIndex, proof: collections.abc.Iterable, root1: typing_extensions.Buffer) -> tuple[bytes, bytes]:
    """
    The two roots that a consistency proof implies (RFC 9162 §2.1.4.2); comparing is the
    caller's. Raises MalformedProof for sizes, hashes or proof lengths that cannot be.
    """
def cpu_path() -> str:
    """
    The code path in use: avx512, avx2, neon or portable; TORCHNOTARY_CPU narrows it.
    Raises NotaryError where the variable asks for a path that this machine lacks.
    """
def extend_tree(hashes: typing_extensions.Buffer, size: typing.SupportsInt | typing.SupportsIndex, peaks: typing_extensions.Buffer) -> tuple[bytes, bytes]:
    """
    What leaf hashes, 32 bytes each in one buffer, add to a tree of `size` leaves whose
    complete subtrees have the roots `peaks`, largest first: the nodes above leaves that become
    complete, in the order they do, and the peaks then.
    Raises MalformedProof where `size` has another number of peaks.
    """
def fill_lines(pieces: collections.abc.Sequence[bytes], columns: collections.abc.Sequence[typing_extensions.Buffer], width: typing.SupportsInt | typing.SupportsIndex) -> bytes:
    """
    The lines that a template makes of columns, newlines between them: its pieces in turn with
    the columns' next `width` bytes. Raises ValueError unless there is one piece more than
    columns, all of one size.
    """
def fits_a_line(value: typing.Any, depth: typing.SupportsInt | typing.SupportsIndex) -> bool:
    """
    Whether a canonical JSON line can hold a value that nests at most so deep; half surrogate
    pairs in its strings are not looked for.
    """
def inclusion_proof(leaves: collections.abc.Iterable, index: typing.SupportsInt | typing.SupportsIndex) -> list[bytes]:
    """
    The siblings of entry `index`, lowest first (RFC 9162 §2.1.3.1).
    Raises MalformedProof unless `index` is in the tree.
    """
def inclusion_proof_of_hashes(hashes: typing_extensions.Buffer, index: typing.SupportsInt | typing.SupportsIndex) -> list[bytes]:
    """
    `inclusion_proof` over leaf hashes, 32 bytes each in one buffer.
    """
def inclusion_root(index: typing.SupportsInt | typing.SupportsIndex, size: typing.SupportsInt | typing.SupportsIndex, leaf_hash: typing_extensions.Buffer, proof: collections.abc.Iterable) -> bytes:
    """
    The root that an inclusion proof implies (RFC 9162 §2.1.3.2); comparing is the caller's.
    Raises MalformedProof for an index, hash or proof length that cannot be.
    """
def itemsize(dtype: str) -> int:
    """
    The bytes of one element of a dtype, by torch's name.
    """
def leaf_hash(leaf: typing_extensions.Buffer) -> bytes:
    """
    SHA-256(00 ‖ leaf).
    """
def node_hash(left: typing_extensions.Buffer, right: typing_extensions.Buffer) -> bytes:
    """
    SHA-256(01 ‖ left ‖ right).
    """
def opening_size(head: typing_extensions.Buffer, most: typing.SupportsInt | typing.SupportsIndex) -> int:
    """
    The bytes of an opening that begins with `head` (16 KiB suffice); one above `most` where
    they are more. Raises MalformedProof as Opening does.
    """
def read_safetensors_header(descriptor: typing.SupportsInt | typing.SupportsIndex) -> list[StoredTensor]:
    """
    The tensors of an open safetensors file in the order of their bytes. Raises
    MalformedRecord naming the byte, and UnsupportedTensor for a dtype without a rule.
    """
def root(leaves: collections.abc.Iterable) -> bytes:
    """
    The root over entries (RFC 9162 §2.1.1).
    """
def root_of_hashes(hashes: typing_extensions.Buffer) -> bytes:
    """
    The root over leaf hashes, 32 bytes each in one buffer.
    """
def salted(secret: typing_extensions.Buffer, tree: typing.SupportsInt | typing.SupportsIndex, line: typing.SupportsInt | typing.SupportsIndex, digests: typing_extensions.Buffer) -> bytes:
    """
    The salted forms of digests of slots 0 …, 32 bytes each in one.
    """
def salted_root(secret: typing_extensions.Buffer, tree: typing.SupportsInt | typing.SupportsIndex, line: typing.SupportsInt | typing.SupportsIndex, digests: typing_extensions.Buffer) -> bytes:
    """
    The RFC 9162 root (32 bytes) over the salted forms of digests of slots 0 ….
    """
def salts(secret: typing_extensions.Buffer, tree: typing.SupportsInt | typing.SupportsIndex, line: typing.SupportsInt | typing.SupportsIndex, n: typing.SupportsInt | typing.SupportsIndex) -> bytes:
    """
    The salts of slots 0 … n - 1 of a line, 32 bytes each in one; `secret` has 32 bytes.
    """
def set_variables(names: collections.abc.Iterable) -> dict:
    """
    The environment variables of these names that are set, each with its bytes.
    """
def sha256(data: typing_extensions.Buffer) -> bytes:
    """
    SHA-256 (FIPS 180-4) of a contiguous buffer: 32 bytes.
    """
def sha256_lines(lines: typing_extensions.Buffer, prefix: bytes = b'', threads: typing.SupportsInt | typing.SupportsIndex = 1) -> bytes:
    """
    The same of each line of one buffer, without their newlines; the last needs none.
    """
def sha256_many(buffers: collections.abc.Iterable, prefix: bytes = b'', threads: typing.SupportsInt | typing.SupportsIndex = 1) -> bytes:
    """
    The SHA-256 of each contiguous buffer, `prefix` put before it, 32 bytes each in one.
    """
def stored_dtypes() -> dict[str, str]:
    """
    The safetensors format's names of dtypes, each with torch's.
    """
def value_digest(encoded: typing_extensions.Buffer) -> bytes:
    """
    The digest (32 bytes) of a plain value's typed encoding.
    """
