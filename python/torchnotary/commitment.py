"""Tensors to digests: the one way from a torch tensor or numpy array to its commitment.

Neither torch nor numpy is imported: a tensor can only exist where its library is loaded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from torchnotary import _core
from torchnotary.errors import UnsupportedTensor
from torchnotary.hashing import threads_for

# Bytes up to which a tensor may stand for more memory than it has (`expand`, sliding windows):
# zeros(1).expand(2**40) is 4 bytes to make and an hour to hash.
MAX_REPEATED = 64 << 20


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a tensor's content commits to (docs/formats.md, "Tensor"); digests in hex.

    ``data_root`` is plain BLAKE3 of the elements in row-major order, little-endian, which
    ``b3sum`` can check; ``digest`` covers it together with dtype, shape and size.
    """

    digest: str
    data_root: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def commit(tensor: Any) -> Commitment:
    """Commit to a torch tensor, numpy array or numpy scalar, on any device, of any strides.

    Equal content gives equal digests, whatever library, device or memory layout holds it.
    Raises `UnsupportedTensor`, naming the layout, dtype or device, where there is no rule, and for
    tensors of more than 64 MiB that stand on half the memory or less (`expand`), naming both sizes.
    """
    borrowed = view(tensor)
    data_root, digest = borrowed.commit(threads_for(borrowed.nbytes))
    return Commitment(
        digest.hex(), data_root.hex(), borrowed.dtype, borrowed.shape, borrowed.nbytes
    )


def view(tensor: Any) -> _core.View:
    """The tensor's memory as `_core.View`, borrowed where it lies on the CPU; not yet hashed.

    Raises `UnsupportedTensor` as `commit` does.
    """
    cls = type(tensor)
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, torch.Tensor):
        return _torch_view(tensor, torch)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, (numpy.ndarray, numpy.generic)):
        return _numpy_view(numpy.asanyarray(tensor), numpy)
    if cls is _core.View:
        return tensor
    _refuse("this is not a tensor", "a torch.Tensor or numpy.ndarray", cls.__qualname__)


def is_tensor(value: Any) -> bool:
    """Whether the value is a torch tensor, a numpy array or a numpy number."""
    cls = type(value)
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, torch.Tensor):
        return True
    numpy = sys.modules.get("numpy")
    if numpy is None or issubclass(cls, (str, bytes)):
        return False
    return issubclass(cls, (numpy.ndarray, numpy.generic))


# Names by dtype, torch's and numpy's: asking a dtype for its name costs more than the look-up.
_names: dict[Any, str] = {}


def _torch_view(tensor: Any, torch: Any) -> _core.View:
    cls = type(tensor)
    if (
        cls is not torch.Tensor
        and cls is not torch.nn.Parameter
        and cls.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
    ):
        # FakeTensor, DTensor, quantised wrappers …: the class alone knows what its data are.
        _refuse("a tensor subclass with its own dispatch has no commitment rule", "", cls.__name__)
    if tensor.layout is not torch.strided:
        _refuse("this tensor layout has no commitment rule", "torch.strided", tensor.layout)
    if tensor.is_quantized:
        _refuse("quantised tensors have no commitment rule", "a plain dtype", tensor.dtype)
    if tensor.is_nested:
        _refuse("nested tensors have no commitment rule", "a plain tensor", "a nested one")
    if not tensor.is_cpu:
        if tensor.is_meta:
            _refuse("a meta tensor has no data", "data on a device", "device meta")
        _require_own_memory(tensor.shape, tensor.stride(), tensor.element_size())
        tensor = tensor.detach().cpu()
    dtype = tensor.dtype
    name = _names.get(dtype)
    if name is None:
        name = _names[dtype] = str(dtype).removeprefix("torch.")
    try:
        pointer, shape, strides = tensor.data_ptr(), tensor.shape, tensor.stride()
    except (RuntimeError, ValueError) as error:  # functorch wrappers, lazy parameters: no storage
        raise UnsupportedTensor(
            f"the data of this {cls.__name__} cannot be read",
            next_step="commit the tensor outside the transform, or once it is initialised",
        ) from error
    _require_own_memory(shape, strides, dtype.itemsize)
    return _core.View(pointer, name, shape, strides, tensor.is_conj(), tensor.is_neg(), tensor)


def _require_own_memory(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> None:
    """Refuse a tensor whose elements are, for the most part, the same memory over and over."""
    nbytes = math.prod(shape) * itemsize
    if nbytes <= MAX_REPEATED:
        return
    last = sum((size - 1) * abs(stride) for size, stride in zip(shape, strides, strict=True))
    memory = (last + 1) * itemsize
    if nbytes >= 2 * memory:
        raise UnsupportedTensor(
            "an expanded tensor this large is not hashed",
            expected=f"at most {MAX_REPEATED} bytes that share memory",
            actual=f"{nbytes} bytes that stand on {memory} bytes of memory",
            next_step="make it a tensor of its own with .contiguous(), or pass what was expanded",
        )


def _numpy_view(array: Any, numpy: Any) -> _core.View:
    if isinstance(array, numpy.ma.MaskedArray):
        _refuse("masked arrays have no commitment rule", "a plain array", "a masked one")
    dtype = array.dtype
    if dtype.kind in "OSUMm" or dtype.names is not None:
        _refuse("arrays of this dtype have no commitment rule", "a numeric dtype", dtype)
    itemsize = dtype.itemsize
    _require_own_memory(array.shape, [stride // itemsize for stride in array.strides], itemsize)
    if not dtype.isnative:
        array = array.byteswap().view(dtype.newbyteorder("="))
        dtype = array.dtype
    name = _names.get(dtype)
    if name is None:
        name = _names[dtype] = dtype.name
    if any(stride % itemsize for stride in array.strides):
        array = array.copy(order="C")  # a field of packed records
    return _core.View(
        array.__array_interface__["data"][0],
        name,
        array.shape,
        tuple(stride // itemsize for stride in array.strides),
        False,
        False,
        array,
    )


def _refuse(message: str, expected: str, actual: Any) -> NoReturn:
    raise UnsupportedTensor(
        message,
        expected=expected or None,
        actual=actual,
        next_step="convert it to a dense tensor of plain numbers first",
    )
