"""Kept components put together again: sparse, quantised and nested torch tensors."""

from __future__ import annotations

from typing import Any

from ..errors import MalformedRecord
from ..leaves import Leaf


def composite_tensor_of(leaf: Leaf, components: dict[str, Any]) -> Any:
    """The torch tensor that a kept composite leaf stands for, from its components by name.

    Raises MalformedRecord where torch cannot make one of them: they break the invariants of the
    layout, torch is not installed, or it has no way to (packed quantised integers).
    """
    try:
        import torch

        made = _made(leaf, components, torch)
        shape = (made.size(0),) if made.is_nested else tuple(made.shape)
    except (ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _not_made(leaf, str(error).splitlines()[0]) from error
    if shape != leaf.shape or str(made.dtype) != f"torch.{leaf.dtype}":
        raise _not_made(leaf, f"its parts make a {made.dtype} of shape {list(shape)}")
    return made


def _made(leaf: Leaf, parts: dict[str, Any], torch: Any) -> Any:
    values = list(parts.values())
    if leaf.layout == "sparse_coo":
        made = torch.sparse_coo_tensor(*values, leaf.shape, check_invariants=True)
        return made._coalesced_(True)  # the rule's order is coalesce()'s, which lacks dtypes
    if leaf.layout.startswith("sparse_"):
        layout = getattr(torch, leaf.layout)
        return torch.sparse_compressed_tensor(
            *values, leaf.shape, layout=layout, check_invariants=True
        )
    if leaf.layout.startswith("nested_"):
        layout = torch.jagged if leaf.layout == "nested_jagged" else torch.strided
        return torch.nested.nested_tensor(values, layout=layout)
    if leaf.dtype in ("quint4x2", "quint2x4"):
        raise TypeError(f"torch cannot make a {leaf.dtype} of its bytes")
    if leaf.layout == "quantized_per_tensor":
        integers, scale, zero_point = values
        return torch._make_per_tensor_quantized_tensor(integers, scale.item(), zero_point.item())
    integers, scales, zero_points, axis = values
    return torch._make_per_channel_quantized_tensor(integers, scales, zero_points, axis.item())


def _not_made(leaf: Leaf, cause: str) -> MalformedRecord:
    return MalformedRecord(
        f"{leaf.path} is a {leaf.layout} tensor that cannot be put together again: {cause}",
        next_step="give the values yourself",
    )
