"""Models whose weights cannot be written: parameters and buffers in sealed, shared memory.

Sealed tensors stay the objects they are, with the same names, strides and ties; their memory lies
in a file of the kernel's that nobody can write any more and is mapped read-only. An operator of
torch that would write to one raises NotaryError; whatever writes past torch faults. Children of
fork share the memory; copies and pickles are ordinary tensors.

It guards against accidents and bugs, not against whoever operates the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import _libtorch
from .structure import walk_with_wrappers


def seal(module: Any) -> None:
    """Move all parameters and buffers of ``module`` and what is below it into sealed memory.

    Each piece of memory is copied once; at most 64 MiB, or one larger tensor, exist twice at a
    time. Nothing else may run the module meanwhile. Other holders of the old memory (NumPy arrays,
    mapped files) keep it, and reach the module no more.

    Raises UnsupportedTensor, naming it, for a tensor that is not plain memory on the host, and
    NotaryError where the system gives no memory or ``_torch`` is missing; the module is as before.
    """
    extension = _libtorch.load()
    tensors = list(_tensors(module))
    before = [pair for pair in tensors if not extension.is_sealed(pair[1])]
    try:
        extension.seal(tensors)
    except BaseException:
        extension.unseal(before)
        raise


def unseal(module: Any) -> None:
    """Give the sealed tensors of ``module`` ordinary, writable memory again."""
    _libtorch.load().unseal(list(_tensors(module)))


def is_sealed(tensors: Iterable[Any]) -> bool:
    """Whether all of these tensors that hold bytes are sealed, and any is."""
    if not _libtorch.is_loaded():
        return False  # what seals is not
    sealed = _libtorch.load().is_sealed
    found = [sealed(tensor) for tensor in tensors if tensor.numel()]
    return bool(found) and all(found)


def _tensors(module: Any) -> Iterable[tuple[str, Any]]:
    for node in walk_with_wrappers(module):
        for table in (node.module._parameters, node.module._buffers):
            for key, tensor in table.items():
                if tensor is not None:
                    yield (f"{node.name}.{key}" if node.name else key), tensor
