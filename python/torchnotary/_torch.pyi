"""
What needs LibTorch: the determinism scope, and tensors read where they lie.
"""
from __future__ import annotations
import torch
import typing
__all__: list[str] = ['DeterminismScope', 'TORCH_MINOR', 'commit']
class DeterminismScope:
    """
    Every deterministic setting of torch, from construction to leave() or destruction.
    
    `threads` is the number of intra-op threads (None: as it is). Raises NotaryError if an
    open scope holds another number.
    """
    def __init__(self, threads: typing.SupportsInt | typing.SupportsIndex | None = None) -> None:
        ...
    def leave(self) -> None:
        """
        Restore everything; a second call does nothing. Raises NotaryError on another thread
        than the scope began on, where that thread's own settings stay changed.
        """
    def report(self) -> dict[str, dict[str, bool | int | str]]:
        """
        Name -> {"before": value, "set": value}, in the order they were set.
        """
def commit(tensor: torch.Tensor, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> tuple[bytes, bytes]:
    """
    (data root, digest) of a torch.Tensor, 32 bytes each, equal to torchnotary.commit's.
    
    Raises UnsupportedTensor for sparse, quantised, nested, oneDNN and meta tensors.
    """
TORCH_MINOR: str = '2.13'
