"""The trace of one call: which operators or modules ran, in order, and what each made of what.

Operators are written down in C++ (``_torch.Tracer``), no Python runs for each. Python says what the
model's tensors and modules are called, which module is running, and writes the lines of modules
whose outputs are shown (``trace="modules"``) or whose operators cannot be seen: compiled and
scripted ones are traced at their outer call. docs/formats.md has the lines.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .. import _core
from .._libtorch import load
from ..commitment import commit, is_tensor
from ..errors import NotaryError
from ..leaves import encode_value, parts_of
from ..statement.kept import Kept
from ..statement.lines import canonical
from ..structure import unwrap, walk_with_wrappers
from . import module_calls
from .models import CommittedModel
from .module_calls import call_below_trace

LEVELS = ("modules", "operators")
PLAIN, SHOWN, OPAQUE, FOREIGN = 1, 2, 3, 4
_GAP = "0" * 64
_COMMITMENT = f'"commitment":"{_GAP}"'


class Traced:
    """A finished trace: ``root`` (hex) and ``size`` of its tree, ``data`` the line file and
    ``digests`` the unsalted digests (u32le count ‖ count × 32 bytes a line), both bytes-like;
    ``facts`` what the record's execution section says of it; ``kept`` the outputs' values, None
    unless they were kept."""

    def __init__(self, tracer: Any, facts: dict[str, Any], keep: bool) -> None:
        self.size: int = tracer.size
        self.root: str = tracer.root.hex()
        self.data = _bytes_of(tracer.data)
        self.digests = _bytes_of(tracer.digests)
        self.facts = facts
        self.kept = Kept(memoryview(tracer.kept_data), tracer.kept) if keep else None

    @property
    def nbytes(self) -> int:
        """Bytes that wait to be stored."""
        return len(self.data) + len(self.digests) + (self.kept.nbytes if self.kept else 0)


class Tracing:
    """The trace of a call under way; stretches of the call run inside :meth:`running`."""

    def __init__(self, level: str, tracer: Any, book: _Book, keep: bool) -> None:
        self.level = level
        self.tracer = tracer
        self._book = book
        self._keep = keep
        self._seen_opaque: dict[str, None] = {}

    def __enter__(self) -> None:
        _stack().append(self)
        self.tracer.enter()

    def __exit__(self, *exception: Any) -> None:
        self.tracer.leave()
        _stack().remove(self)

    def begin_call(
        self, arguments: Mapping[str, Any], prefix: str = "", *, in_module: bool = False
    ) -> None:
        """Say that a call begins, with these arguments by name, their paths led by ``prefix``;
        ``in_module`` says that it is one of the model itself."""
        import torch

        self.tracer.set_root(self._book.root if in_module else None)
        for name, value in arguments.items():
            if isinstance(value, torch.nn.Module):
                continue
            for path, part, bound in parts_of(prefix + name, value):
                if bound and isinstance(part, torch.Tensor):
                    self.tracer.add_input(part, path)

    def running(self) -> Tracing:
        """The context manager of a stretch of the call."""
        return self

    def finish(self) -> Traced | None:
        """The trace, once the call has ended; None where it has no line. Raises NotaryError where
        the trace is not whole."""
        tracer = self.tracer
        tracer.finish()
        if tracer.failure:
            raise NotaryError(
                f"the operator trace failed: {tracer.failure}",
                next_step="mend that, or record with trace=False",
            )
        facts = {
            "left_out": tracer.left_out,
            "level": self.level,
            "opaque": list(self._seen_opaque),
            "outside": tracer.outside if self.level == "operators" else 0,
            "threads": tracer.threads,
        }
        return Traced(tracer, facts, self._keep)

    # Lines of modules

    def show(self, module: Any, result: Any) -> None:
        """The line of a module whose outputs are shown; nothing where operators are."""
        path = self._book.shown.get(id(module))
        if path is None or self.level != "modules":
            return
        self._line(
            {
                "class": _class_of(module),
                "module": path,
                "outputs": self._leaves([("output", result)]),
                "type": "module",
            }
        )

    def hide(self, module: Any, args: Any, result: Any, is_root: bool) -> None:
        """The line of a module whose operators cannot be seen; ``args`` are its argument leaves,
        ``result`` a one-tuple, or None where it raised."""
        path, by = self._book.opaque.get(id(module), (None, None))
        if by is None:  # the wrapper of a compiled module, which is no module of the model
            inner = self._book.root if is_root else self._book.paths.get(id(unwrap(module)))
            path, by = inner, hidden_by(module)
        self._seen_opaque[_class_of(module) if path is None else path] = None
        outputs = None if result is None else self._leaves([("output", result[0])])
        self._line(
            {
                "args": args,
                "by": by,
                "class": _class_of(module),
                "module": path,
                "outputs": outputs,
                "type": "call",
            }
        )

    def argument_leaves(self, args: tuple, kwargs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The leaves of a call's arguments, hashed before the call may change them."""
        return self._leaves([*((f"args[{i}]", x) for i, x in enumerate(args)), *kwargs.items()])

    def _leaves(self, values: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
        leaves = []
        for name, value in values:
            for path, part, bound in parts_of(name, value):
                leaves.append(self._leaf(path, part, bound))
        return leaves

    def _leaf(self, path: str, value: Any, bound: bool) -> dict[str, Any]:
        if bound and is_tensor(value):
            digest = self._tensor_digest(value)
            if digest is not None:
                shape = [int(size) for size in value.shape]
                dtype = str(value.dtype).removeprefix("torch.")
                leaf = {"digest": digest, "dtype": dtype, "kind": "tensor", "path": path}
                return {**leaf, "shape": shape}
            bound = False
        encoded = encode_value(value) if bound else None
        if encoded is None:
            cls = f"{type(value).__module__}.{type(value).__qualname__}"
            digest = _core.value_digest(b"u" + cls.encode())
            return {"class": cls, "digest": digest, "kind": "unbound", "path": path}
        kind, data = encoded
        return {"digest": _core.value_digest(data), "kind": kind, "path": path}

    def _tensor_digest(self, value: Any) -> bytes | None:
        import torch

        if isinstance(value, torch.Tensor):
            return self.tracer.digest(value)
        return bytes.fromhex(commit(value).digest)

    def _line(self, line: dict[str, Any]) -> None:
        digests: list[bytes] = []
        for leaves in (line.get("args"), line["outputs"]):
            for leaf in leaves or ():
                digests.append(leaf.pop("digest"))
                leaf["commitment"] = _GAP
        if not digests:  # a line is shown by its hash: without a salt it could be guessed
            digests.append(_core.value_digest(b""))
            line["commitment"] = _GAP
        pieces = canonical(line).decode().split(_COMMITMENT)
        self.tracer.line(pieces, digests)


def start(
    level: str,
    committed: CommittedModel | None,
    *,
    secret: bytes,
    keep: bool = False,
    digests: bool = True,
    folder: str = "",
) -> Tracing:
    """Begin the trace of a call, or of several that run the same models.

    ``level`` is ``"operators"`` or ``"modules"``. ``keep`` keeps the values of operators' outputs,
    ``digests=False`` hashes nothing (to measure what tracing alone costs). What does not stay in
    memory goes to nameless files in ``folder``. Raises NotaryError where ``_torch`` cannot be
    loaded.
    """
    book = _book_of(committed)
    keep = keep and level == "operators"
    tracer = load().Tracer(
        secret,
        model=book.model,
        folder=folder,
        operators=level == "operators",
        keep=keep,
        digests=digests,
    )
    return Tracing(level, tracer, book, keep)


class _Book:
    """What traces of calls of one committed model share."""

    def __init__(self, committed: CommittedModel | None) -> None:
        self.model = load().TracedModel()
        self.opaque: dict[int, tuple[str, str]] = {}
        self.shown: dict[int, str] = {}
        self.paths: dict[int, str] = {}
        self.root = ""
        if committed is not None:
            digests = committed.digests()
            for prefix, module in committed.alive_models():
                self._add(prefix, module, digests)

    def _add(self, prefix: str, root: Any, digests: Mapping[str, bytes]) -> None:
        import torch

        nodes = list(walk_with_wrappers(root))
        self.root = prefix
        seen: set[int] = set()
        for node in nodes:
            path = ".".join(part for part in (prefix, node.name) if part)
            parent = nodes[node.parent].module if node.parent >= 0 else None
            role = PLAIN
            by = hidden_by(node.module)
            if by is not None:
                role, self.opaque[id(node.module)] = OPAQUE, (path, by)
            elif node.parent == 0 or isinstance(parent, torch.nn.ModuleList):
                role, self.shown[id(node.module)] = SHOWN, path
            self.model.add_module(node.module, path, role)
            self.paths.setdefault(id(node.module), path)
            if node.is_wrapper:
                continue
            for table, is_parameter in (
                (node.module._parameters, True),
                (node.module._buffers, False),
            ):
                for key, tensor in table.items():
                    if tensor is None or id(tensor) in seen:
                        continue
                    seen.add(id(tensor))
                    name = f"{path}.{key}" if path else key
                    self.model.add(tensor, is_parameter, name, digests.get(name))


def _book_of(committed: CommittedModel | None) -> _Book:
    if committed is None:
        return _Book(None)
    if committed.traced is None:
        committed.traced = _Book(committed)
    return committed.traced


def hidden_by(module: Any) -> str | None:
    """What hides the operators of a module from the tracer: ``torch.compile``, ``torch.jit``, or
    None."""
    if module is None:
        return None
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return "torch.jit"
    if getattr(module, "_compiled_call_impl", None) is not None:
        return "torch.compile"
    return "torch.compile" if type(module).__name__ == "OptimizedModule" else None


# The layer over nn.Module.__call__

_here = threading.local()


def _stack() -> list[Tracing]:
    try:
        return _here.tracings
    except AttributeError:
        _here.tracings = []
        return _here.tracings


def _tracings() -> Iterable[Tracing]:
    """The traces of this thread, each once: calls of a group inside one another share theirs."""
    return dict.fromkeys(_stack())


def hold_layer(holder: Any) -> Callable[[], Any]:
    """See the calls of modules as long as ``holder`` lives, or until what is returned is called."""
    extension = load()
    global _enter, _leave, _is_compiling
    import torch

    _enter, _leave = extension.enter_module, extension.leave_module
    _is_compiling = torch.compiler.is_compiling
    module_calls.hold("trace", _traced_call, _noted_start)
    return weakref.finalize(holder, module_calls.release, "trace")


_enter: Any = None
_leave: Any = None
_is_compiling: Any = None


def _traced_call(self, *args, **kwargs):
    if _is_compiling():
        return call_below_trace(self, *args, **kwargs)
    role = _enter(self)
    if role == 0:
        return call_below_trace(self, *args, **kwargs)
    try:
        if role >= OPAQUE and (role == OPAQUE or hidden_by(self) is not None):
            return call_hidden(self, types.MethodType(call_below_trace, self), args, kwargs)
        result = call_below_trace(self, *args, **kwargs)
    finally:
        _leave()
    if role == SHOWN:
        for tracing in _tracings():
            tracing.show(self, result)
    return result


def call_hidden(
    module: Any, call: Callable, args: tuple, kwargs: dict[str, Any], is_root: bool = False
) -> Any:
    """Run ``call`` of ``module``, whose operators cannot be seen, as one line of this thread's
    traces. ``is_root`` says that the module is what the call recorded is a call of."""
    tracings = [(tracing, tracing.argument_leaves(args, kwargs)) for tracing in _tracings()]
    paused = load().pause_tracing()
    result = None
    try:
        result = (call(*args, **kwargs),)
    finally:
        load().resume_tracing(paused)
        for tracing, leaves in tracings:
            tracing.hide(module, leaves, result, is_root)
    return result[0]


def is_tracing() -> bool:
    """Whether this thread stands in a traced call."""
    return bool(getattr(_here, "tracings", None))


@contextmanager
def unseen() -> Iterator[None]:
    """What runs in the block is in no trace of this thread."""
    if not _stack():
        yield
        return
    extension = load()
    paused = extension.pause_tracing()
    try:
        yield
    finally:
        extension.resume_tracing(paused)


def _noted_start(self):
    load().note_thread()
    return module_calls.plain_start(self)


def _class_of(module: Any) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _bytes_of(piece: Any) -> Any:
    """Small files as bytes; large ones stay where they are, read-only."""
    view = memoryview(piece)
    return bytes(view) if len(view) <= 1 << 20 else view
