"""The exact profile: the same bits on every machine (docs/exact-profile.md).

``Notary(profile="exact/1")`` records under it; :func:`exact_scope` is the profile alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from . import _libtorch
from .errors import NotaryError, NotExact
from .sealing import seal
from .torch_functions import torch_functions

PROFILE = "exact/1"


@contextmanager
def exact_scope() -> Iterator[None]:
    """Run this thread's torch operators by exact/1 inside the block.

    Results are ordinary tensors. Blocks nest; other threads stay as they are. Weights that are
    sealed (:func:`prepare`) are packed once, others at every product. Raises NotExact from within
    an operator that exact/1 does not specify, naming it and the module that called it, and
    NotaryError where ``_torch`` cannot be loaded.
    """
    extension = _libtorch.load()
    with _EAGER, torch_functions(extension):
        extension.enter_exact()
        try:
            yield
        except NotExact as error:
            raise _in_module(error) from None
        finally:
            extension.leave_exact()


def operators() -> dict[str, str]:
    """The operators that exact/1 has a rule for, by full name (``aten::add.Tensor``).

    ``kernel``: computed by exact/1 where a tensor is floating; ``moves``: torch's own, since it
    rounds nothing; ``parts``: taken apart into others, each of which needs a rule. On tensors of
    integers and booleans alone every other operator runs as torch has it; on floating ones it
    raises NotExact. Raises NotaryError where ``_torch`` cannot be loaded.
    """
    return dict(sorted(_libtorch.load().exact_operators().items()))


class _Eager:
    """What torch.compile made runs as it was written, while any thread is inside: compiled code is
    not made of operators. The first one in sets, the last one out restores."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside = 0
        self._stance: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            # Without the compiler, which takes a second to import, nothing is compiled.
            if self._stance is None and "torch._dynamo" in sys.modules:
                from torch.compiler import set_stance

                self._stance = set_stance("force_eager")
                self._stance.__enter__()

    def __exit__(self, *exception: Any) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._stance is not None:
                stance, self._stance = self._stance, None
                stance.__exit__(None, None, None)


_EAGER = _Eager()


def sample(probabilities: Any, seed: int, sequence: int, position: int) -> int:
    """Draw a token of ``sequence`` for ``position``, by the rule of exact/1 (section 11).

    ``probabilities`` is a tensor of shape (vocabulary,) in float32, bfloat16 or float16 on the
    host; they need not have the sum 1. ``seed``, ``sequence`` and ``position`` are integers from
    0 to 2^64 − 1. The draw depends on nothing else: neither on the batch nor on what was drawn
    before. Its random number is the first word of Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
    "Parallel random numbers: as easy as 1, 2, 3", SC11).

    Raises NotExact for another tensor, and NotaryError for numbers out of their range and for
    probabilities from which nothing can be drawn: none of them, a NaN, no positive sum.
    """
    import torch

    plain = type(probabilities) in (torch.Tensor, torch.nn.Parameter)
    if (
        not plain
        or probabilities.dim() != 1
        or not probabilities.is_cpu
        or probabilities.layout != torch.strided
        or probabilities.is_neg()
        or probabilities.dtype not in _stored(torch)
    ):
        raise NotExact(
            "these probabilities cannot be drawn from",
            expected="a tensor (vocabulary,) of float32, bfloat16 or float16 on the host",
            actual=_described(probabilities),
            next_step="softmax the logits of one position, logits[position].softmax(-1)",
        )
    numbers = {"seed": seed, "sequence": sequence, "position": position}
    for name, number in numbers.items():
        if not 0 <= number < 1 << 64:
            raise NotaryError(
                f"{name} is out of range",
                expected="0 to 2^64 - 1",
                actual=number,
                next_step=f"choose another {name}",
            )
    token = _libtorch.load().sample(probabilities.detach(), seed, sequence, position)
    if token < 0:
        raise NotaryError(
            "no token can be drawn from these probabilities",
            expected="probabilities with a positive sum",
            actual=f"{len(probabilities)} numbers without one",
            next_step="look for NaNs in the logits",
        )
    return token


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__qualname__
    return f"{tuple(shape)} of {value.dtype} on {value.device}"


def prepare(module: Any) -> None:
    """Seal the parameters and buffers of ``module`` and pack the weights of its linear layers, so
    that its calls read nothing else; what is prepared already stays as it is.

    Raises UnsupportedTensor, naming it, for a tensor that is not plain memory on the host.
    """
    import torch

    seal(module)
    pack = _libtorch.load().pack_matrix
    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear) and layer.weight.dtype in _stored(torch):
            pack(layer.weight.detach())


def require_sealed(models: Iterable[tuple[str, Any]]) -> None:
    """Raise NotExact, naming them, where tensors of prepared models, each given with the prefix of
    their names, were replaced since."""
    is_sealed = _libtorch.load().is_sealed
    loose = [
        name
        for prefix, model in models
        for name, tensor in chain(model.named_parameters(prefix), model.named_buffers(prefix))
        if tensor.numel() and not is_sealed(tensor)
    ]
    if loose:
        raise NotExact(
            "tensors were replaced after the model was sealed: " + ", ".join(loose[:5]),
            expected="the sealed tensors",
            actual=f"{len(loose)} others",
            next_step="notary.detach(model), then notary.attach(model) again",
        )


def _stored(torch: Any) -> tuple[Any, ...]:
    return (torch.float32, torch.bfloat16, torch.float16)


def _in_module(error: NotExact) -> NotExact:
    """The same error, naming the module whose forward called the operator."""
    from .capture.subjects import is_module

    module, root = None, None
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if trace.tb_frame.f_code.co_name == "_call_impl" and is_module(owner):
            root = owner if root is None else root
            module = owner
        trace = trace.tb_next
    if module is None or getattr(error, "module", None) is not None:
        return error
    paths = {id(each): path for path, each in root.named_modules()}
    where = paths.get(id(module), "")
    named = NotExact(
        f"{error.reason} (in {where or 'the model itself'}, {type(module).__qualname__})",
        expected=error.expected,
        actual=error.actual,
        next_step=error.next_step,
    )
    named.module = where
    return named.with_traceback(error.__traceback__)
