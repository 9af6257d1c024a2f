"""What torch tensors of other layouts than strided consist of: ordinary tensors, in one order.

Used by `commitment` where a tensor is sparse, quantised or nested. Nothing is rounded, added up or
converted: components are the tensor's own memory wherever it already is in its one form.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import _core
from .composite import Composite, component_names
from .errors import UnsupportedTensor


def reach(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many elements of memory a tensor of at least one element reaches over."""
    return 1 + sum((n - 1) * abs(step) for n, step in zip(shape, strides, strict=True))


View = Callable[[Any], _core.View]
"""An ordinary tensor's memory, or UnsupportedTensor: `commitment.view`."""

_COMPRESSED = {
    "sparse_csr": ("crow_indices", "col_indices"),
    "sparse_csc": ("ccol_indices", "row_indices"),
    "sparse_bsr": ("crow_indices", "col_indices"),
    "sparse_bsc": ("ccol_indices", "row_indices"),
}
# The integers behind a quantised dtype, and how many bits each has.
_INTEGERS = {
    "qint8": ("int8", 8),
    "quint8": ("uint8", 8),
    "qint32": ("int32", 32),
    "quint4x2": ("uint8", 4),
    "quint2x4": ("uint8", 2),
}


def is_jagged(tensor: Any) -> bool:
    """Whether a tensor is torch's own jagged nested tensor, a subclass with its own dispatch."""
    cls = type(tensor)
    if cls.__module__ != "torch.nested._internal.nested_tensor":
        return False
    from torch.nested._internal.nested_tensor import NestedTensor

    return cls is NestedTensor


def composite_of(tensor: Any, torch: Any, view: View) -> Composite:
    """The parts of a tensor that is not an ordinary one, on the CPU and not yet hashed.

    Raises UnsupportedTensor where its layout has no rule, where it breaks the invariants of its
    layout, and where bringing it into its one form would take arithmetic.
    """
    tensor = tensor.detach()
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        return _nested(tensor, name, torch, view)
    if tensor.is_meta:
        _refuse("a meta tensor has no data", "data on a device", "device meta")
    if tensor.is_quantized:
        return _quantized(tensor, name, torch, view)
    if tensor.layout is torch.sparse_coo:
        return _coo(tensor, name, torch, view)
    layout = str(tensor.layout).removeprefix("torch.")
    if layout in _COMPRESSED:
        return _compressed(tensor, layout, name, torch, view)
    _refuse("this tensor layout has no commitment rule", "torch.strided", tensor.layout)


def _made(layout: str, dtype: str, shape: Any, views: list[_core.View]) -> Composite:
    names = component_names(layout, len(views))
    return Composite(layout, dtype, shape, dict(zip(names, views, strict=True)))


def _nested(tensor: Any, dtype: str, torch: Any, view: View) -> Composite:
    layout = "nested_jagged" if tensor.layout is torch.jagged else "nested_strided"
    members = [view(member) for member in tensor.unbind()] if tensor.size(0) else []
    return _made(layout, dtype, (len(members),), members)


def _compressed(tensor: Any, layout: str, dtype: str, torch: Any, view: View) -> Composite:
    tensor = tensor.cpu()
    compressed, plain = (getattr(tensor, name)() for name in _COMPRESSED[layout])
    values = tensor.values()
    # Before they are gone through: views refuse what is the same memory over and over.
    views = [view(part) for part in (compressed, plain, values)]
    _require_valid(
        torch._validate_sparse_compressed_tensor_args,
        *(compressed, plain, values, tensor.shape, tensor.layout),
    )
    return _made(layout, dtype, tensor.shape, views)


def _coo(tensor: Any, dtype: str, torch: Any, view: View) -> Composite:
    """Indices ascending and distinct, as `coalesce` orders them, whatever torch's flag says."""
    tensor = tensor.cpu()
    indices, values = tensor._indices(), tensor._values()
    views = [view(indices), view(values)]
    _require_valid(torch._validate_sparse_coo_tensor_args, indices, values, tensor.shape)
    if not _ascends(indices, torch):
        order = _order(indices, torch)
        indices = indices.index_select(1, order)
        if not _ascends(indices, torch):
            _refuse(
                "a sparse tensor that names an element twice has no commitment rule",
                "distinct indices",
                "repeated ones, whose values add up",
                "call .coalesce() on it first, which adds them and may round",
            )
        views = [view(indices), _moved(views[1], order, torch)]
    return _made("sparse_coo", dtype, tensor.shape, views)


def _ascends(indices: Any, torch: Any) -> bool:
    """Whether the columns strictly ascend, compared from the first row on."""
    before, after = indices[:, :-1], indices[:, 1:]
    tied = torch.ones(before.shape[1], dtype=torch.bool, device="cpu")
    for a, b in zip(before, after, strict=True):
        if bool((tied & (a > b)).any()):
            return False
        tied &= a == b
    return not bool(tied.any())


def _order(indices: Any, torch: Any) -> Any:
    """The order of the columns: stable sorts, the last row's first."""
    order = torch.arange(indices.shape[1], device="cpu")
    for row in indices.flip(0):
        order = order[torch.argsort(row[order], stable=True)]
    return order


def _moved(view: _core.View, order: Any, torch: Any) -> _core.View:
    """The view with axis 0 in another order: as bytes, which no operator rounds."""
    if not view.nbytes:
        return view
    data = torch.frombuffer(bytearray(view.tobytes()), dtype=torch.uint8)
    moved = data.reshape(len(order), -1).index_select(0, order)
    strides = tuple(math.prod(view.shape[dim + 1 :]) for dim in range(len(view.shape)))
    return _core.View(moved.data_ptr(), view.dtype, view.shape, strides, owner=moved)


def _quantized(tensor: Any, dtype: str, torch: Any, view: View) -> Composite:
    scheme = _scheme(tensor)
    tensor = tensor.cpu()
    integers = _integers(tensor, dtype, torch, view)
    if scheme == "per_tensor_affine":
        parts = [
            _core.View.from_buffer(_F64.pack(tensor.q_scale()), "float64", ()),
            _core.View.from_buffer(_I64.pack(tensor.q_zero_point()), "int64", ()),
        ]
        return _made("quantized_per_tensor", dtype, tensor.shape, [integers, *parts])
    if scheme in ("per_channel_affine", "per_channel_affine_float_qparams"):
        parts = [view(tensor.q_per_channel_scales()), view(tensor.q_per_channel_zero_points())]
        axis = _core.View.from_buffer(_I64.pack(tensor.q_per_channel_axis()), "int64", ())
        return _made("quantized_per_channel", dtype, tensor.shape, [integers, *parts, axis])
    _refuse("this quantisation scheme has no commitment rule", "an affine scheme", scheme)


_F64, _I64 = struct.Struct("<d"), struct.Struct("<q")


def _scheme(tensor: Any) -> str:
    try:
        return str(tensor.qscheme()).removeprefix("torch.")
    except RuntimeError:  # made by torch.empty or a view: the dtype alone, and no scale
        _refuse("a quantised dtype without a scale says no numbers", "a scheme", tensor.dtype)


def _integers(tensor: Any, dtype: str, torch: Any, view: View) -> _core.View:
    """The integers where they lie; of several in a byte, the bytes in order, without what the last
    one holds beside elements."""
    name, bits = _INTEGERS[dtype]
    if tensor.numel():
        elements = tensor.storage_offset() + reach(tensor.shape, tensor.stride())
        needed = (elements * bits + 7) // 8
        held = tensor.untyped_storage().nbytes()
        if needed > held:
            _refuse("the tensor reaches beyond its storage", f"{needed} bytes", held)
    empty = torch.empty(0, dtype=getattr(torch, name), device="cpu")
    memory, offset = tensor.untyped_storage(), tensor.storage_offset()
    if bits >= 8:
        return view(empty.set_(memory, offset, tensor.size(), tensor.stride()))
    if offset or not tensor.is_contiguous():
        _refuse("packed integers are read in order only", "a contiguous tensor", "a view of one")
    used = tensor.numel() * bits
    packed = empty.set_(memory, 0, (-(-used // 8),), (1,))
    if not used % 8:
        return view(packed)
    data = bytearray(view(packed).tobytes())
    data[-1] &= (1 << used % 8) - 1  # element 0 has the lowest bits
    return _core.View.from_buffer(data, name, (len(data),))


def _require_valid(check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except RuntimeError as error:
        raise UnsupportedTensor(
            "the tensor breaks the invariants of its sparse layout",
            actual=str(error).splitlines()[0],
            next_step="make it with check_invariants=True, which says where it goes wrong",
        ) from None


def _refuse(
    message: str,
    expected: str,
    actual: Any,
    next_step: str = "convert it to a dense tensor of plain numbers first (.to_dense())",
) -> NoReturn:
    raise UnsupportedTensor(message, expected=expected, actual=actual, next_step=next_step)
