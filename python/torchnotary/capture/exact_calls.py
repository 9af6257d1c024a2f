"""Exact models called on threads that lack the profile: refused, since other bits would come out.

A model may start threads of its own, or hand work to some. The profile belongs to the thread that
was called, and torch's operators on another one are native.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .. import _libtorch
from ..errors import NotExact
from . import module_calls

_members: weakref.WeakSet = weakref.WeakSet()  # modules of prepared models
_is_exact: Callable[[], bool] = bool
_exact_scopes: Callable[[], int] = int


def hold_layer(holder: Any) -> Callable[[], Any]:
    """See the calls of modules as long as ``holder`` lives, or until what is returned is called."""
    global _is_exact, _exact_scopes
    extension = _libtorch.load()
    _is_exact, _exact_scopes = extension.is_exact, extension.exact_scopes
    module_calls.hold("exact", _checked_call)
    return weakref.finalize(holder, module_calls.release, "exact")


def watch(model: Any) -> None:
    """Refuse calls of the modules of ``model`` on other threads while an exact call runs."""
    for module in model.modules():
        _members.add(module)


def _checked_call(self, *args, **kwargs):
    if _exact_scopes() and not _is_exact() and self in _members:
        raise NotExact(
            f"{type(self).__qualname__} was called on a thread without the exact profile, while a "
            "call under it runs",
            expected="the thread of the recorded call",
            actual="another thread",
            next_step='run the model on one thread, or record with profile="native"',
        )
    return module_calls.plain_call(self, *args, **kwargs)
