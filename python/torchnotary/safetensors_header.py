"""The header of a safetensors file, read strictly by C++ and refused with the file's name.

    file   = u64le n ‖ header (n bytes of JSON, padded with spaces) ‖ data
    header = {"__metadata__": {text: text}?, name: {"dtype", "shape", "data_offsets": [b, e]}, …}

Offsets count from the start of the data; tensors cover it without overlap, gap or rest, in
row-major order, little-endian. Source: the format's description in huggingface/safetensors.
"""

from __future__ import annotations

from typing import BinaryIO

from . import _core
from ._core import StoredTensor
from .errors import MalformedRecord, UnsupportedTensor

# The format's name of a dtype, and torch's.
DTYPES = _core.stored_dtypes()


def read_safetensors_header(stream: BinaryIO, path: str) -> list[StoredTensor]:
    """The tensors of an open safetensors file, in the order of their bytes.

    Raises MalformedRecord naming the file and the byte where it breaks the format, and
    UnsupportedTensor for a dtype that has no commitment rule.
    """
    try:
        return _core.read_safetensors_header(stream.fileno())
    except MalformedRecord as error:
        raise MalformedRecord(
            f"{path}, {error.reason}",
            expected=error.expected,
            actual=error.actual,
            next_step=error.next_step,
        ) from None
    except UnsupportedTensor as error:
        raise UnsupportedTensor(f"{path}: {error.reason}", next_step=error.next_step) from None
