"""Tensors to digests: the one way from a torch tensor or numpy array to its commitment.

Neither torch nor numpy is imported: a tensor can only exist where its library is loaded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from torchnotary import _core, layouts
from torchnotary.composite import STRIDED, Composite
from torchnotary.errors import UnsupportedTensor
from torchnotary.hashing import WORTH_THREADS, thread_count, threads_for

if TYPE_CHECKING:
    from torchnotary.opening import Opening

# Bytes up to which a tensor may stand for more memory than it has (`expand`, sliding windows):
# zeros(1).expand(2**40) is 4 bytes to make and an hour to hash.
MAX_REPEATED = 64 << 20


class Commitment(NamedTuple):
    """What a tensor's content commits to (docs/formats.md, "Tensor"); digests in hex.

    ``data_root`` is plain BLAKE3 of the elements in row-major order, little-endian, which
    ``b3sum`` can check; ``digest`` covers it together with dtype, shape and size. Of a sparse,
    quantised or nested tensor ``data_root`` is plain BLAKE3 of the digests of its components,
    ``nbytes`` the sum of theirs, and ``layout`` says which kind it is.
    """

    digest: str
    data_root: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    layout: str = STRIDED

    def open(self, tensor: Any, index: Any) -> Opening:
        """The elements ``index`` selects of the committed ``tensor``, with the proof that they are
        its elements: what `Opening.verify` checks against this commitment. Hashes all of it once.

        ``index`` is what torch takes that selects a regular region: integers, slices of a step of 1
        or more, None, Ellipsis and tuples of these. Raises `UnsupportedIndex` for another, and
        `RootMismatch`, with both digests, where ``tensor`` is not the committed one.
        """
        from .opening import Opening

        opening = Opening.of(tensor, index)
        opening.require_digest(self)
        return opening


_new = tuple.__new__  # a third of what Commitment() costs, as C++ gives the fields in order


def commit(tensor: Any) -> Commitment:
    """Commit to a torch tensor, numpy array or numpy scalar, on any device, of any strides.

    Equal content gives equal digests, whatever library, device or memory layout holds it. Sparse,
    quantised and nested torch tensors are committed to by their components.
    Raises `UnsupportedTensor`, naming the layout, dtype or device, where there is no rule, and for
    tensors of more than 64 MiB that stand on half the memory or less (`expand`), naming both sizes.
    """
    found = _find(tensor)
    if type(found) is not tuple:
        data_root, digest = found.commit(threads_for(found.nbytes))
        layout = found.layout if type(found) is Composite else STRIDED
        hexes = digest.hex(), data_root.hex()
        return Commitment(*hexes, found.dtype, found.shape, found.nbytes, layout)
    memory, nbytes, owner = found
    made = _core.commit(memory, 1 if nbytes < WORTH_THREADS else thread_count())
    del owner  # its memory has been read
    return _new(Commitment, made)


def commit_many(tensors: Iterable[Any]) -> list[Commitment]:
    """`commit` of each tensor, in order: one call for many, small ones hashed side by side.

    Raises `UnsupportedTensor` as `commit` does, for the first tensor without a rule.
    """
    found = [_find(tensor) for tensor in tensors]
    ordinary = [each for each in found if type(each) is tuple]
    threads = threads_for(sum(nbytes for _, nbytes, _ in ordinary))
    made = iter(_core.commit_many([memory for memory, _, _ in ordinary], threads))
    return [Commitment._make(next(made)) if type(each) is tuple else commit(each) for each in found]


def view(tensor: Any) -> _core.View | Composite:
    """The tensor's memory as `_core.View`, borrowed where it lies on the CPU; not yet hashed. Of a
    sparse, quantised or nested tensor those of its components, as `Composite`.

    Raises `UnsupportedTensor` as `commit` does.
    """
    found = _find(tensor)
    if type(found) is not tuple:
        return found
    memory, _, owner = found
    return _core.View(*memory, owner)


# Where the elements lie: address, dtype name, sizes, strides in elements, conj, neg; how many bytes
# they are, and the object that keeps the memory alive.
_Memory = tuple[tuple[int, str, tuple[int, ...], tuple[int, ...], bool, bool], int, Any]


def _find(tensor: Any) -> _Memory | _core.View | Composite:
    cls = type(tensor)
    torch = sys.modules.get("torch")
    if torch is not None and (cls is torch.Tensor or issubclass(cls, torch.Tensor)):
        return _of_torch(tensor, cls, torch)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(cls, (numpy.ndarray, numpy.generic)):
        return _of_numpy(numpy.asanyarray(tensor), numpy)
    if cls is _core.View or cls is Composite:
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


# Name, bytes an element and whether complex by dtype, torch's and numpy's: asking a dtype costs
# more than the look-up. Quantised dtypes are never in it.
_known: dict[Any, tuple[str, int, bool]] = {}


def _of_torch(tensor: Any, cls: type, torch: Any) -> _Memory | Composite:
    if cls is not torch.Tensor and cls is not torch.nn.Parameter:
        if layouts.is_jagged(tensor):
            return layouts.composite_of(tensor, torch, view)
        tensor = _without_class(tensor, cls, torch)
    if tensor.layout is not torch.strided:
        return layouts.composite_of(tensor, torch, view)
    dtype = tensor.dtype
    known = _known.get(dtype)
    if known is None:
        if tensor.is_quantized:
            return layouts.composite_of(tensor, torch, view)
        name = str(dtype).removeprefix("torch.")
        known = _known[dtype] = name, dtype.itemsize, dtype.is_complex
    name, itemsize, is_complex = known
    if not tensor.is_cpu and not tensor.is_nested:
        tensor = _to_host(tensor)
    try:
        pointer, shape, strides = tensor.data_ptr(), tensor.shape, tensor.stride()
    except (RuntimeError, ValueError) as error:
        if tensor.is_nested:
            return layouts.composite_of(tensor, torch, view)
        # Functorch wrappers, lazy parameters: no storage.
        raise UnsupportedTensor(
            f"the data of this {cls.__name__} cannot be read",
            next_step="commit the tensor outside the transform, or once it is initialised",
        ) from error
    nbytes = math.prod(shape) * itemsize
    if nbytes > MAX_REPEATED:
        _require_own_memory(shape, strides, itemsize)
    if nbytes and (pointer < _LOWEST or nbytes >= WORTH_THREADS):
        _require_storage(tensor, itemsize)
    conj = is_complex and tensor.is_conj()
    return (pointer, name, shape, strides, conj, tensor.is_neg()), nbytes, tensor


def _without_class(tensor: Any, cls: type, torch: Any) -> Any:
    """A subclass's tensor as the torch.Tensor that it is."""
    if cls.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        # FakeTensor, DTensor, quantised wrappers …: the class alone knows what its data are.
        _refuse("a tensor subclass with its own dispatch has no commitment rule", "", cls.__name__)
    if issubclass(cls, torch.nn.parameter.UninitializedTensorMixin):
        _refuse("an uninitialised parameter has no data", "a materialised one", cls.__name__)
    # What a subclass says of itself may be anything; what the tensor is, is not its to say.
    with torch._C.DisableTorchFunctionSubclass():
        return torch.Tensor.as_subclass(tensor, torch.Tensor)


# A storage that was given back (FSDP does so) lies at 0, and its tensors at their offsets from
# there. Asking every small tensor for its storage would cost more than hashing it.
_LOWEST = 1 << 32


def _require_storage(tensor: Any, itemsize: int) -> None:
    """Refuse a tensor that reaches beyond its storage: reading it would end the process."""
    held = tensor.untyped_storage().nbytes()
    elements = tensor.storage_offset() + layouts.reach(tensor.shape, tensor.stride())
    needed = elements * itemsize
    if needed > held:
        raise UnsupportedTensor(
            "the tensor reaches beyond its storage, which was given back or made smaller",
            expected=f"{needed} bytes",
            actual=held,
            next_step="commit it while its storage holds it",
        )


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
    memory = layouts.reach(shape, strides) * itemsize
    if nbytes >= 2 * memory:
        raise UnsupportedTensor(
            "an expanded tensor this large is not hashed",
            expected=f"at most {MAX_REPEATED} bytes that share memory",
            actual=f"{nbytes} bytes that stand on {memory} bytes of memory",
            next_step="make it a tensor of its own with .contiguous(), or pass what was expanded",
        )


def _of_numpy(array: Any, numpy: Any) -> _Memory:
    if isinstance(array, numpy.ma.MaskedArray):
        _refuse("masked arrays have no commitment rule", "a plain array", "a masked one")
    dtype = array.dtype
    if dtype.kind in "OSUMm" or dtype.names is not None:
        _refuse("arrays of this dtype have no commitment rule", "a numeric dtype", dtype)
    itemsize = dtype.itemsize
    if not itemsize:
        _refuse("arrays of this dtype have no commitment rule", "a numeric dtype", dtype)
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
