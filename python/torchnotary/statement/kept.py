"""The values of an operator trace's outputs, where they were kept: the maker's alone.

Two files of the private store: ``trace.kept``, the data bytes one after the other, and
``trace.kept.index``, a MessagePack list of [line, output, dtype, shape, offset, bytes].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

_Entry = tuple[int, int, str, Sequence[int], int, int]


class Kept:
    """Values of outputs by line and output number; ``data`` is bytes-like and not copied."""

    def __init__(self, data: Any, index: Iterable[Sequence[Any]]) -> None:
        self.data = memoryview(data)
        self._places: dict[tuple[int, int], _Entry] = {
            (entry[0], entry[1]): tuple(entry) for entry in index
        }

    @classmethod
    def decode(cls, data: Any, index: bytes) -> Kept:
        """The values in two files of the private store."""
        return cls(data, msgspec.msgpack.decode(index, type=list[_Entry]))

    def index(self) -> bytes:
        """The file ``trace.kept.index``."""
        return msgspec.msgpack.encode(list(self._places.values()))

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._places)

    def content(self, line: int, output: int) -> tuple[str, tuple[int, ...], memoryview] | None:
        """Dtype, shape and data bytes of an output, not copied; None where it was not kept."""
        place = self._places.get((line, output))
        if place is None:
            return None
        _, _, dtype, shape, offset, nbytes = place
        return dtype, tuple(shape), self.data[offset : offset + nbytes]

    def tensor(self, line: int, output: int) -> Any:
        """The value of an output as a tensor of its own; None where it was not kept."""
        place = self._places.get((line, output))
        if place is None:
            return None
        import torch

        _, _, dtype, shape, offset, nbytes = place
        made = torch.empty(tuple(shape), dtype=getattr(torch, dtype))
        if nbytes:
            raw = torch.frombuffer(
                bytearray(self.data[offset : offset + nbytes]), dtype=torch.uint8
            )
            made.view(-1).view(torch.uint8).copy_(raw)
        return made
