"""The recorder: ``Notary``, and the ``record`` decorator of the process's default one.

Recording never changes a call and never takes a service down. What fails on the way to a record
is counted, warned of once and signed by the next record as ``missed``; ``strict=True`` raises
instead, at once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from . import _libtorch, exact
from .capture import attachments, exact_calls, module_calls, surroundings, tracing
from .capture.aside import aside, is_traced
from .capture.call import Call
from .capture.group import Group, GroupedCalls
from .capture.interposed import interposed
from .capture.job import CallJob, Signer, Stream
from .capture.models import ModelBook
from .capture.moment import LastRecords, Stretch
from .capture.pause import is_paused
from .capture.subjects import is_module
from .capture.target import ModuleTarget
from .capture.wrappers import wrap
from .errors import NotaryError, NotExact, WeightsChanged
from .folders import default_log
from .log.writer import MAX_TOGETHER, LogWriter
from .statement.record import Record
from .structure import unwrap

PROFILES = ("native", "deterministic", exact.PROFILE)
_NO_LABELS: Mapping[str, str] = {}


class Notary:
    """Records calls into a log folder, each as a signed, logged statement.

    ``log`` is a folder (default: ``TORCHNOTARY_LOG``, else the user's data folder); ``profile``
    is ``"native"`` (torch as it is), ``"deterministic"`` (every deterministic setting, scoped to
    the call) or ``"exact/1"`` (the same bits on every machine, docs/exact.md; models are sealed,
    and a call that cannot be recorded raises, since without the profile it gives other bits);
    ``trace`` is ``"operators"`` (every operator call is a line of the record's trace),
    ``"modules"`` (the outputs of the model's direct children and of the members of its ModuleLists)
    or False; ``evidence`` is ``"commitments"`` or ``"full"`` (tensors kept in the private store);
    ``sign_every`` puts up to that many calls (1 to 1,024) under one signature, which is made once
    they are there, after a second, or when somebody waits for one; each stays provable alone;
    ``signer`` is a :class:`~torchnotary.keys.SigningKey`, PEM text or a path to one; ``strict``
    makes a call wait for its record and raise where there cannot be one; ``name`` names the model.

    Raises NotaryError where key or folder could not be written, saying what to set; both are
    written at the first record only.
    """

    def __init__(
        self,
        log: str | os.PathLike | None = None,
        *,
        profile: str = "native",
        trace: bool | str = False,
        evidence: str = "commitments",
        sign_every: int = 1,
        signer: Any = None,
        strict: bool = False,
        name: str | None = None,
    ) -> None:
        _require_known(profile, trace, evidence, sign_every)
        self.folder = Path(log) if log is not None else default_log()
        self.profile = profile
        self.strict = strict
        self.name = name
        self._keep = evidence == "full"
        self._scope = _scope_of(profile)
        self._is_exact = profile == exact.PROFILE
        self._prepared: weakref.WeakSet = weakref.WeakSet()
        self._trace = trace
        self._release_layer: Callable | None = None
        self._release_exact: Callable | None = None
        self._signer = Signer(signer)
        self._sign_every = sign_every
        self._inside: ContextVar[Stretch | None] = ContextVar("torchnotary_inside", default=None)
        self._blocks: ContextVar[tuple] = ContextVar("torchnotary_blocks", default=())
        self._group: ContextVar[Group | None] = ContextVar("torchnotary_group", default=None)
        self._nonce: ContextVar[bytes | None] = ContextVar("torchnotary_nonce", default=None)
        self._labels: ContextVar[Mapping[str, str]] = ContextVar(
            "torchnotary_labels", default=_NO_LABELS
        )
        self._warned_training = False
        self._closed = False
        self._models = ModelBook(strict)
        self._writer = LogWriter.open(self.folder)
        self._start_process()
        _notaries.add(self)

    def _start_process(self) -> None:
        """Begin a stream of this process: after a fork the parent's may not be touched."""
        self._models.renew_lock()
        self._stream = Stream(self._signer, self._sign_every)
        self._last = LastRecords()

    # Recording

    def record(
        self, fn: Callable | None = None, *, model: Any = None, name: str | None = None
    ) -> Any:
        """Record every call of ``fn``; a decorator with or without arguments, or a plain call.

        ``fn`` is a function, method, ``async def``, generator, callable object, or a module (which
        is attached). Without ``model`` the record commits to the modules the function names; give
        one module, or several as ``{"encoder": …, "head": …}``. Raises TypeError for a class.
        """
        if fn is None:
            return lambda function: self.record(function, model=model, name=name)
        if is_module(fn):
            return self.attach(fn, name=name)
        return _recorded(self, fn, model, name)

    def attach(self, model: Any, *, name: str | None = None, seal: bool = False) -> Any:
        """Record every outermost call of ``model`` (``generate`` is one call) and return it.

        Attaching twice is attaching once. Calls in training mode with gradients pass unrecorded,
        with one warning; so do calls inside another recorded call of this notary.

        ``seal`` moves parameters and buffers into memory that cannot be written, until
        :meth:`detach`: torch's operators raise NotaryError instead, other writes fault
        (docs/weights.md). Raises UnsupportedTensor, naming it, where a tensor is not plain memory
        on the host. Under ``exact/1`` every model is sealed, and its weights are packed here.
        """
        _require_module(model)
        attachments.attach(self, model, name or self.name, seal or self._is_exact)
        if self._is_exact:
            self._prepare({"": model})
        return model

    def detach(self, model: Any) -> Any:
        """Stop recording calls of ``model`` and return it; nothing where it was not attached. What
        was sealed for this notary becomes ordinary, writable memory again."""
        _require_module(model)
        attachments.detach(self, model)
        self._prepared.discard(unwrap(model))
        return model

    def __enter__(self) -> Notary:
        self._blocks.set((*self._blocks.get(), attachments.enter_block(self)))
        return self

    def __exit__(self, *exception: Any) -> None:
        *outer, token = self._blocks.get() or (None,)
        self._blocks.set(tuple(outer))
        attachments.leave_block(token)

    def __deepcopy__(self, memo: dict) -> Notary:
        return self  # a log has one writer; copies of what holds it write to the same one

    @contextmanager
    def nonce(self, value: bytes):
        """Sign ``value`` (a verifier's challenge) into every record made in the block."""
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError(f"a nonce is bytes, not {type(value).__name__}")
        if not value:
            raise ValueError("an empty nonce challenges nobody; give at least one byte")
        token = self._nonce.set(bytes(value))
        try:
            yield self
        finally:
            _reset(self._nonce, token)

    @contextmanager
    def labels(self, **text: str):
        """Sign plain text ``text`` into every record made in the block, to find records by."""
        for key, value in text.items():
            if not isinstance(value, str) or not key.isascii():
                raise TypeError(f"label {key!r} must be text under an ASCII name, not {value!r}")
        token = self._labels.set({**self._labels.get(), **text})
        try:
            yield self
        finally:
            _reset(self._labels, token)

    @contextmanager
    def group(self):
        """Make one record of all calls this thread or task makes in the block, however recorded.

        Its paths begin with the number of the call: ``calls[0].x``, ``calls[0].output``. A block
        inside another one is part of that; one without calls makes no record. A model that changed
        since an earlier call, another nonce and other labels begin the group's next record. Under
        ``strict`` leaving the block waits for the record and raises where there is none.
        """
        if self._group_here() is not None:
            yield self
            return
        group = Group(self._stream)
        token = self._group.set(group)
        try:
            yield self
        finally:
            _reset(self._group, token)
            if group.stream is self._stream:  # a fork in the block leaves the parent's calls to it
                self._submit(group.leave(), waits=self.strict)

    # Results

    @property
    def last(self) -> Record | None:
        """The record of this thread's or task's last call; None before the first.

        Returned at once; its ``id`` and ``save`` wait until it is durable. Raises NotaryError
        where the last call got no record.
        """
        last = self._last.get()
        if isinstance(last, BaseException):
            raise NotaryError(
                f"the last call was not recorded: {last}",
                next_step="mend the cause, or use strict=True to have calls raise",
            ) from last
        if last is not None and last.record is None:
            last.record = Record.awaited(last)
        return last.record if last is not None else None

    def flush(self) -> None:
        """Wait until every record made so far is durable; raise NotaryError if any call was
        missed since the last flush."""
        self._writer.flush()
        error, self._stream.last_error = self._stream.last_error, None
        if error is not None:
            raise NotaryError(
                f"{self._stream.missed_total} calls were not recorded; the last one: {error}",
                next_step="mend the cause; the next record will sign how many are missing",
            ) from error

    def close(self) -> None:
        """Flush and release the log folder; calls pass unrecorded from then on. Closing twice is
        closing once."""
        if self._closed:
            return
        self._closed = True
        for release in (self._release_layer, self._release_exact):
            if release is not None:
                release()
        try:
            self.flush()
        finally:
            self._writer.close()

    def stats(self) -> dict[str, int]:
        """Counts since the process began: records made durable, calls missed, jobs waiting."""
        return {
            "recorded": self._stream.recorded,
            "missed": self._stream.missed_total,
            "queued": self._writer.queued(),
        }

    # What wrappers call, on the caller's path

    def _begin(self, target: Any, args: tuple, kwargs: dict) -> Call | None:
        """The call in progress; None where it passes unrecorded."""
        if is_paused() or is_traced():
            return None
        return self._start(target, args, kwargs)

    def _start(self, target: Any, args: tuple, kwargs: dict) -> Call | None:
        """The same where it is known that calls are recorded here."""
        try:
            owner, arguments = target.bind(args, kwargs)
        except TypeError:
            return None  # the call itself raises the better error
        try:
            if self._closed:
                raise NotaryError("the notary is closed", next_step="make a new Notary")
            hint = target.committed()
            around = interposed()  # before its modes are set aside
            with aside():
                models = target.models(owner, arguments)
                if self._is_exact:
                    self._prepare(models)
                committed = self._models.committed(
                    models,
                    target.name or self.name,
                    named=target.models_are_named,
                    hint=hint,
                )
                if self._is_exact and committed is not None and not committed.sealed:
                    exact.require_sealed(committed.alive_models())
                if committed is not hint and committed is not None:
                    target.committed = weakref.ref(committed)
                if self._scope is None:
                    call = self._call(target, committed, arguments, around)
                else:
                    with self._running():  # the settings recorded are those in force in the call
                        call = self._call(target, committed, arguments, around)
            group = self._group_here()
            if group is not None:
                self._submit(group.make_room(call), waits=self.strict)
                group.add(call)
            if self._trace:
                self._begin_trace(call, target, arguments)
            return call
        except (WeightsChanged, NotExact):
            raise  # the first in strict mode only
        except Exception as error:
            if self._is_exact:  # unrecorded, the call would give other bits
                self._last.set(error)
                self._stream.miss(error)
                raise
            self._refuse(error)
            return None

    def _prepare(self, models: Mapping[str, Any]) -> None:
        """Seal and pack models that this notary has not met."""
        for module in map(unwrap, models.values()):
            if module not in self._prepared:
                if self._release_exact is None:
                    self._release_exact = exact_calls.hold_layer(self)
                exact.prepare(module)
                exact_calls.watch(module)
                self._prepared.add(module)

    def _call(
        self, target: Any, committed: Any, arguments: dict[str, Any], around: dict[str, str]
    ) -> Call:
        return Call(
            target.code,
            committed,
            arguments,
            profile=self.profile,
            around=around,
            keep=self._keep,
            nonce=self._nonce.get(),
            labels=self._labels.get(),
        )

    def _begin_trace(self, call: Call, target: Any, arguments: Mapping[str, Any]) -> None:
        if self._release_layer is None:
            self._release_layer = tracing.hold_layer(self)
        owner, prefix = (call, "") if call.group is None else (call.group, call.group.prefix(call))
        if owner.tracing is None:
            owner.secret = os.urandom(32)
            owner.tracing = tracing.start(
                self._trace,
                call.model,
                secret=owner.secret,
                keep=self._keep,
                folder=self._writer.spool_folder(),
            )
        owner.tracing.begin_call(arguments, prefix, in_module=isinstance(target, ModuleTarget))
        call.tracing = owner.tracing

    def _observe(self, call: Call, path: str, value: Any) -> None:
        """Add one item of a generator to its call."""
        try:
            with aside():
                call.add_output(path, value)
        except Exception as error:
            call.broken = error

    def _finish(self, call: Call, report: Callable, *values: Any) -> None:
        """Let ``report`` tell the call how it ended, then hand it to the writer: by itself, or with
        its group once that has ended too."""
        try:
            with aside():
                report(*values)
        except Exception as error:
            call.broken = error
        # A garbage collection may close a generator on any thread, the writer's included.
        waits = self.strict and call.status != "closed" and not self._writer.is_this_thread()
        group = call.group
        if group is None or group.stream is not self._stream:
            self._submit(call, waits=waits)
            return
        try:
            if call.broken is not None:
                self._refuse(call.broken)
        finally:
            if group.has_ended(call):
                self._submit(group, waits=waits)

    def _submit(self, call: Call | GroupedCalls | None, *, waits: bool) -> None:
        """Hand a call, or the calls of a record of a group, to the writer; nothing for None."""
        if call is None:
            return
        try:
            if call.broken is not None:
                raise call.broken
            ticket = self._writer.submit(CallJob(call, self._stream, self._warn), block=waits)
        except Exception as error:
            self._refuse(error, call.count)
            return
        self._last.set(ticket)
        if waits:
            ticket.wait()

    def _group_here(self) -> Group | None:
        """The group that a call made now is part of."""
        group = self._group.get()
        if group is None or group.stream is not self._stream or not group.is_here():
            return None
        return group

    def _refuse(self, error: Exception, count: int = 1) -> None:
        """A call, or so many of a group, get no record: count them; raise if strict, else warn
        once."""
        self._last.set(error)
        self._stream.miss(error, count)
        if self.strict:
            raise error
        # Kept for .last and .flush(), it must not keep the call's arguments alive by its frames.
        error.__traceback__ = error.__context__ = None
        self._warn(error)

    def _warn(self, error: BaseException) -> None:
        if not self._stream.warned and not self.strict:
            self._stream.warned = True
            _warn_user(
                f"torchnotary: a call was not recorded: {error} (the call itself is unharmed; "
                "notary.stats() counts such calls and the next record signs how many)"
            )

    def _running(self, call: Call | None = None) -> Stretch:
        return Stretch(self._inside, self._scope, call.tracing if call is not None else None)

    def _is_inside(self) -> bool:
        stretch = self._inside.get()
        return stretch is not None and stretch.running

    def _passes_training(self, module: Any) -> bool:
        """Whether a module's call is a training step with gradients, which passes unrecorded."""
        if not module.training or not sys.modules["torch"].is_grad_enabled():
            return False
        if not self._warned_training:
            self._warned_training = True
            _warn_user(
                "torchnotary: calls in training mode with gradients pass unrecorded; "
                "call model.eval() or use torch.no_grad() to have them recorded",
                UserWarning,
            )
        return True


class _Default:
    """The process's default notary, made at the first recorded call; passes calls unrecorded
    where ``TORCHNOTARY_DISABLE=1`` or where it cannot be made (with one warning)."""

    def __init__(self) -> None:
        self._notary: Notary | None = None
        self._failed = False
        self._lock = threading.RLock()

    def renew_lock(self) -> None:
        self._lock = threading.RLock()

    def notary(self) -> Notary | None:
        with self._lock:
            if self._notary is None and not self._failed:
                try:
                    self._notary = Notary(profile=os.environ.get("TORCHNOTARY_PROFILE", "native"))
                except Exception as error:
                    self._failed = True
                    _warn_user(f"torchnotary: calls pass unrecorded: {error}")
        return self._notary

    def _begin(self, target: Any, args: tuple, kwargs: dict) -> Call | None:
        if is_paused() or os.environ.get("TORCHNOTARY_DISABLE") == "1":
            return None
        notary = self._notary or self.notary()
        return notary._begin(target, args, kwargs) if notary is not None else None

    def __getattr__(self, name: str) -> Any:
        if self._notary is None:
            raise AttributeError(name)
        return getattr(self._notary, name)


_notaries: weakref.WeakSet = weakref.WeakSet()
_default = _Default()


def _after_fork() -> None:
    module_calls.renew_lock()
    surroundings.renew_lock()
    _default.renew_lock()
    for notary in list(_notaries):
        notary._start_process()


os.register_at_fork(after_in_child=_after_fork)


def record(fn: Callable | None = None, *, model: Any = None, name: str | None = None) -> Any:
    """Record every call of ``fn`` with the process's default :class:`Notary`.

    The same decorator as :meth:`Notary.record`. The default notary writes to ``TORCHNOTARY_LOG``
    or the user's data folder under the profile ``TORCHNOTARY_PROFILE`` (``native``);
    ``TORCHNOTARY_DISABLE=1`` lets calls pass. ``record.notary()`` returns it (None where it could
    not be made).
    """
    if fn is None:
        return lambda function: record(function, model=model, name=name)
    if is_module(fn):
        disabled = os.environ.get("TORCHNOTARY_DISABLE") == "1"
        notary = None if disabled else _default.notary()
        return notary.attach(fn, name=name) if notary is not None else fn
    return _recorded(_default, fn, model, name)


record.notary = _default.notary


def _recorded(notary: Any, fn: Any, model: Any, name: str | None) -> Any:
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_recorded(notary, fn.__func__, model, name))
    if isinstance(fn, type) or not callable(fn):
        raise TypeError(
            f"record takes a function, method or module, not {fn!r}; decorate the method to "
            "record, or attach() an instance"
        )
    if model is not None:
        for module in model.values() if isinstance(model, Mapping) else (model,):
            _require_module(module)
    return wrap(notary, fn, model, name)


def _reset(variable: ContextVar, token: Any) -> None:
    """Restore a variable; nothing where the block is left in another context, which has none."""
    with suppress(ValueError):
        variable.reset(token)


def _warn_user(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn; where warnings are errors log instead, since no warning may reach into a call."""
    try:
        warnings.warn(message, category, stacklevel=5)
    except Warning:
        logging.getLogger("torchnotary").warning(message)


def _require_module(model: Any) -> None:
    if not is_module(model):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")


def _require_known(profile: str, trace: Any, evidence: str, sign_every: int) -> None:
    for what, value, known in (
        ("profile", profile, PROFILES),
        ("evidence mode", evidence, ("commitments", "full")),
    ):
        if value not in known:
            raise NotaryError(
                f"unknown {what}",
                expected=" or ".join(known),
                actual=value,
                next_step=f"use {known[0]!r}",
            )
    if trace is not False and trace not in tracing.LEVELS:
        raise NotaryError(
            "unknown trace level",
            expected='"operators", "modules" or False',
            actual=repr(trace),
            next_step='use trace="operators"',
        )
    if trace:
        _libtorch.load()  # what it lacks is said here, not in the first call
    if type(sign_every) is not int or not 1 <= sign_every <= MAX_TOGETHER:
        raise NotaryError(
            "sign_every is not a number of calls",
            expected=f"1 to {MAX_TOGETHER}",
            actual=repr(sign_every),
            next_step="use sign_every=100",
        )


def _scope_of(profile: str) -> Callable | None:
    if profile == "native":
        return None
    _libtorch.load()  # what it lacks is said here, not in the first call
    if profile == exact.PROFILE:
        return exact.exact_scope
    from .determinism import determinism_scope

    return determinism_scope
