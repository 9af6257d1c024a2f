"""The exact profile: the same bits on every machine (docs/exact-profile.md).

``Notary(profile="exact/1")`` records under it; :func:`exact_scope` is the profile alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _libtorch
from .errors import NotExact

PROFILE = "exact/1"


@contextmanager
def exact_scope() -> Iterator[None]:
    """Run this thread's torch operators by exact/1 inside the block.

    Results are ordinary tensors. Blocks nest; other threads stay as they are. Raises NotExact from
    within an operator that exact/1 does not specify, naming it and the module that called it, and
    NotaryError where ``_torch`` cannot be loaded.
    """
    extension = _libtorch.load()
    extension.enter_exact()
    try:
        yield
    except NotExact as error:
        raise _in_module(error) from None
    finally:
        extension.leave_exact()


def _in_module(error: NotExact) -> NotExact:
    """The same error, naming the module whose forward called the operator."""
    module, root = None, None
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if trace.tb_frame.f_code.co_name == "_call_impl" and _is_module(owner):
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


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
