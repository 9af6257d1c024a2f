"""Bytes to digests: BLAKE3 for bulk data, SHA-256 for trees and files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from torchnotary import _core
from torchnotary.errors import NotaryError

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterable

# Below a megabyte, starting threads costs more than they save.
WORTH_THREADS = 1 << 20


def thread_count() -> int:
    """The threads bulk hashing may use.

    ``TORCHNOTARY_NUM_THREADS`` where it is set, else what torch uses where torch is loaded, else
    the CPUs this process may run on. Raises `NotaryError` where the variable is no count.
    """
    setting = os.environ.get("TORCHNOTARY_NUM_THREADS")
    if setting:
        if not (setting.isascii() and setting.isdigit() and int(setting) > 0):
            raise NotaryError(
                "TORCHNOTARY_NUM_THREADS is not a number of threads",
                expected="an integer of 1 or more",
                actual=repr(setting),
                next_step="unset it or set it to a number",
            )
        return int(setting)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return torch.get_num_threads()
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(nbytes: int) -> int:
    """How many threads to hash ``nbytes`` bytes with: one where they are few."""
    return thread_count() if nbytes >= WORTH_THREADS else 1


def blake3(
    data: Buffer, *, key: Buffer | None = None, context: str | None = None, length: int = 32
) -> bytes:
    """BLAKE3 of any contiguous buffer: ``length`` bytes.

    With ``key`` (32 bytes) the keyed hash, with ``context`` the derive-key function over ``data``
    as key material. Raises `ValueError` for both together and for a key of another length.
    """
    nbytes = len(data) if isinstance(data, (bytes, bytearray)) else memoryview(data).nbytes
    return _core.blake3(data, key, context, length, threads_for(nbytes))


def blake3_many(buffers: Iterable[Buffer]) -> list[bytes]:
    """The 32-byte BLAKE3 hash of each contiguous buffer, in order.

    Buffers of equal length are hashed side by side, several times as fast as one after another
    where they are short. Raises `TypeError` for what is no contiguous buffer.
    """
    return _core.blake3_many(buffers, thread_count())


def sha256(data: Buffer) -> bytes:
    """SHA-256 of any contiguous buffer: 32 bytes."""
    return _core.sha256(data)
