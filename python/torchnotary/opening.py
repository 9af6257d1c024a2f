"""Openings of unsalted tensors, such as weights: some elements, and the proof that they are there.

Whoever holds the commitment to a tensor can check that an opening's elements are the tensor's
without having the rest. An opening shows more than it was asked for: whole blocks of 1,024 bytes
around the elements. docs/formats.md has the bytes; private tensors have `RowOpening`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core
from .commitment import Commitment, view
from .composite import STRIDED, Composite
from .errors import MalformedProof, NotaryError, RootMismatch, UnsupportedTensor
from .files import open_regular
from .hashing import threads_for
from .indexing import as_index, canonical_items
from .statement.container import write_atomically
from .statement.evidence import tensor_from
from .statement.lines import MAX_FILE_BYTES

if TYPE_CHECKING:
    from .stored_lines import Home

# Room for everything but the proof (kMaxOpeningHead in cpp/tensor/opening.h).
_HEAD = 16 * 1024
_HEX = re.compile(r"[0-9a-f]{64}")
_ASK = "ask whoever made the opening for one of the committed tensor"


class Opening:
    """Elements of a committed tensor with their proof.

    What it says of itself (``dtype`` and ``shape`` of the whole tensor, ``index``) is claimed until
    `verify` has compared it with a commitment.
    """

    def __init__(self, core: _core.Opening) -> None:
        self._core = core

    @classmethod
    def of(cls, tensor: Any, index: Any) -> Opening:
        """An opening of what ``index`` selects of ``tensor``; see `Commitment.open`, which compares
        the tensor with what was committed to. Raises `UnsupportedTensor` for a composite one."""
        borrowed = view(tensor)
        if type(borrowed) is Composite:
            raise UnsupportedTensor(
                "tensors of several components have no openings",
                expected=STRIDED,
                actual=borrowed.layout,
                next_step="commit to the component that holds the elements, and open that",
            )
        items = canonical_items(index, borrowed.shape)
        return cls(_core.Opening(borrowed, items, threads_for(borrowed.nbytes)))

    @classmethod
    def of_stored(cls, home: Home, index: Any) -> Opening:
        """The same of a tensor in a safetensors file, which is read piece by piece. Raises
        `MalformedRecord` for a file that changes meanwhile."""
        path, stored = os.fsencode(home.file.path), home.tensor
        items = canonical_items(index, tuple(stored.shape))
        threads = threads_for(stored.nbytes)
        return cls(_core.Opening(path, home.file.state, stored, items, threads))

    @classmethod
    def decode(cls, data: bytes) -> Opening:
        """The opening in ``data``; raises MalformedProof, naming the byte, where it is none."""
        return cls(_core.Opening(data))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Opening:
        """The opening in a file. Raises OSError where it cannot be read and MalformedProof, naming
        file and byte, where it is none; reads no more of it than its beginning calls for."""
        with open_regular(path) as stream:
            size = min(os.fstat(stream.fileno()).st_size, MAX_FILE_BYTES)
            head = stream.read(_HEAD)
            expected = _named(path, lambda: _core.opening_size(head, size))
            if expected > MAX_FILE_BYTES:
                _require_fits(expected, os.fspath(path))
            data = head + stream.read(max(0, expected + 1 - len(head)))
        return _named(path, lambda: cls.decode(data))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the opening to a file, atomically."""
        encoded = self.encode()
        _require_fits(len(encoded), os.fspath(path))
        write_atomically(path, encoded)

    def encode(self) -> bytes:
        """The bytes of the opening: one encoding, which `decode` requires."""
        return self._core.encode()

    @property
    def dtype(self) -> str:
        """Name of the tensor's dtype, as torch spells it."""
        return self._core.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole tensor."""
        return self._core.shape

    @property
    def index(self) -> tuple[Any, ...]:
        """What is opened, as an index that has one item for every axis."""
        return as_index(self._core.items)

    @property
    def selected_shape(self) -> tuple[int, ...]:
        """Shape of what is opened."""
        return self._core.selected_shape

    @property
    def digest(self) -> str:
        """Hex digest of the tensor that this claims to be an opening of."""
        return self._core.digest().hex()

    def verify(self, commitment: Commitment | str) -> Any:
        """The opened elements, in ``selected_shape``, once they are proven to be the committed
        tensor's: a torch tensor, or a NumPy array where torch is not installed.

        ``commitment`` is a `Commitment` or the hex digest of one. Raises as `verify_bytes`, and
        `UnsupportedTensor` where the library at hand lacks the dtype.
        """
        return tensor_from(self.verify_bytes(commitment), self.dtype, self.selected_shape)

    def verify_bytes(self, commitment: Commitment | str) -> bytes:
        """The data bytes of what `verify` returns: row-major, little-endian. Needs no torch.

        Raises `RootMismatch`, with both values, where the opening is of another tensor or its proof
        leads to another root, and `MalformedProof` where what was committed to is no tensor.
        """
        self.require_digest(commitment)
        claimed = self._core.data_root
        implied = self._core.implied_root(threads_for(self._core.proof_nbytes))
        if implied != claimed:
            raise RootMismatch(
                "the opening's proof leads to another data root",
                expected=claimed.hex(),
                actual=implied.hex(),
                next_step=_ASK,
            )
        return self._core.tobytes()

    def require_digest(self, commitment: Commitment | str) -> None:
        """Raises `RootMismatch`, with both digests, unless this claims to be of that tensor."""
        expected = commitment if isinstance(commitment, str) else commitment.digest
        if not _HEX.fullmatch(expected):
            raise NotaryError(
                "that is not the digest of a commitment",
                expected="64 hexadecimal digits, in lower case",
                actual=repr(expected[:80]),
                next_step="torchnotary commit FILE prints digests",
            )
        if self.digest != expected:
            raise RootMismatch(
                "this is not an opening of the committed tensor",
                expected=expected,
                actual=self.digest,
                next_step=_ASK,
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opening) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def __repr__(self) -> str:
        whole = f"{self.dtype}{list(self.shape)}"
        return f"<torchnotary.Opening of {list(self.selected_shape)} out of {whole}>"


def _require_fits(size: int, path: str) -> None:
    if size > MAX_FILE_BYTES:
        raise MalformedProof(
            f"{path}: an opening has at most {MAX_FILE_BYTES} bytes",
            actual=size,
            next_step="open a smaller part, or hand on the tensor itself",
        )


def _named(path: str | os.PathLike[str], read: Callable[[], Any]) -> Any:
    """What ``read`` returns; its refusal names the file."""
    try:
        return read()
    except MalformedProof as error:
        raise MalformedProof(
            f"{os.fspath(path)}: {error.reason}",
            expected=error.expected,
            actual=error.actual,
            next_step=error.next_step,
        ) from None
