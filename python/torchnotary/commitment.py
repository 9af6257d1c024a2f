"""Tensors to digests: the one way from a torch tensor or numpy array to its commitment.

Neither torch nor numpy is imported: a tensor can only exist where its library is loaded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

from torchnotary import _core
from torchnotary.errors import UnsupportedTensor
from torchnotary.hashing import WORTH_THREADS, thread_count, threads_for

# Bytes up to which a tensor may stand for more memory than it has (`expand`, sliding windows):
# zeros(1).expand(2**40) is 4 bytes to make and an hour to hash.
MAX_REPEATED = 64 << 20


class Commitment(NamedTuple):
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
    if type(tensor) is _core.View:
        data_root, digest = tensor.commit(threads_for(tensor.nbytes))
        return Commitment(digest.hex(), data_root.hex(), tensor.dtype, tensor.shape, tensor.nbytes)
    memory, nbytes, owner = _memory(tensor)
    threads = 1 if nbytes < WORTH_THREADS else thread_count()
    made = Commitment._make(_core.commit(memory, threads))
    del owner  # its memory has been read
    return made


def commit_many(tensors: Iterable[Any]) -> list[Commitment]:
    """`commit` of each tensor, in order: one call for many, small ones hashed side by side.

    Raises `UnsupportedTensor` as `commit` does, for the first tensor without a rule.
    """
    held = [_memory(tensor) for tensor in tensors]
    threads = threads_for(sum(nbytes for _, nbytes, _ in held))
    made = _core.commit_many([memory for memory, _, _ in held], threads)
    return [Commitment._make(fields) for fields in made]


def view(tensor: Any) -> _core.View:
    """The tensor's memory as `_core.View`, borrowed where it lies on the CPU; not yet hashed.

    Raises `UnsupportedTensor` as `commit` does.
    """
    if type(tensor) is _core.View:
        return tensor
    memory, _, owner = _memory(tensor)
    return _core.View(*memory, owner)


# Where the elements lie: address, dtype name, sizes, strides in elements, conj, neg; how many bytes
# they are, and the object that keeps the memory alive.
_Memory = tuple[tuple[int, str, tuple[int, ...], tuple[int, ...], bool, bool], int, Any]


def _memory(tensor: Any) -> _Memory:
    cls = type(tensor)
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, torch.Tensor):
        return _torch_memory(tensor, cls, torch)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, (numpy.ndarray, numpy.generic)):
        return _numpy_memory(numpy.asanyarray(tensor), numpy)
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


# Name, bytes an element and whether complex by dtype, torch's and numpy's: asking a dtype costs
# more than the look-up. Quantised dtypes are never in it.
_known: dict[Any, tuple[str, int, bool]] = {}


def _torch_memory(tensor: Any, cls: type, torch: Any) -> _Memory:
    if (
        cls is not torch.Tensor
        and cls is not torch.nn.Parameter
        and cls.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__
    ):
        # FakeTensor, DTensor, quantised wrappers …: the class alone knows what its data are.
        _refuse("a tensor subclass with its own dispatch has no commitment rule", "", cls.__name__)
    if tensor.layout is not torch.strided:
        _refuse("this tensor layout has no commitment rule", "torch.strided", tensor.layout)
    dtype = tensor.dtype
    known = _known.get(dtype)
    if known is None:
        if tensor.is_quantized:
            _refuse("quantised tensors have no commitment rule", "a plain dtype", dtype)
        name = str(dtype).removeprefix("torch.")
        known = _known[dtype] = name, dtype.itemsize, dtype.is_complex
    name, itemsize, is_complex = known
    if not tensor.is_cpu:
        tensor = _to_host(tensor)
    try:
        pointer, shape, strides = tensor.data_ptr(), tensor.shape, tensor.stride()
    except (RuntimeError, ValueError) as error:
        if tensor.is_nested:
            _refuse("nested tensors have no commitment rule", "a plain tensor", "a nested one")
        # Functorch wrappers, lazy parameters: no storage.
        raise UnsupportedTensor(
            f"the data of this {cls.__name__} cannot be read",
            next_step="commit the tensor outside the transform, or once it is initialised",
        ) from error
    nbytes = math.prod(shape) * itemsize
    if nbytes > MAX_REPEATED:
        _require_own_memory(shape, strides, itemsize)
    conj = is_complex and tensor.is_conj()
    return (pointer, name, shape, strides, conj, tensor.is_neg()), nbytes, tensor


def _to_host(tensor: Any) -> Any:
    if tensor.is_meta:
        _refuse("a meta tensor has no data", "data on a device", "device meta")
    _require_own_memory(tensor.shape, tensor.stride(), tensor.element_size())
    return tensor.detach().cpu()


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


def _numpy_memory(array: Any, numpy: Any) -> _Memory:
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
    known = _known.get(dtype)
    if known is None:
        known = _known[dtype] = dtype.name, itemsize, dtype.kind == "c"
    if any(stride % itemsize for stride in array.strides):
        array = array.copy(order="C")  # a field of packed records
    memory = (
        array.__array_interface__["data"][0],
        known[0],
        array.shape,
        tuple(stride // itemsize for stride in array.strides),
        False,
        False,
    )
    return memory, array.nbytes, array


def _refuse(message: str, expected: str, actual: Any) -> NoReturn:
    raise UnsupportedTensor(
        message,
        expected=expected or None,
        actual=actual,
        next_step="convert it to a dense tensor of plain numbers first",
    )
