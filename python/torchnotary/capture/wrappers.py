"""The shapes a recorded callable can have: function, coroutine, generator, both at once.

A wrapper asks its notary for a call, runs the original, reports what happened, and passes
results and exceptions on unchanged. Where the profile asks for settings, every stretch of the
original's own execution (one step of a generator, one resumption of a coroutine) runs inside
the scope and nothing between those stretches does.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from .target import Target


def wrap(notary: Any, function: Callable, models: Any, name: str | None) -> Callable:
    """The recorded form of ``function``, of the same shape (sync, async, generator)."""
    target = Target(function, models, name)
    if _is(inspect.isasyncgenfunction, function):
        wrapper = _wrap_async_generator(notary, target)
    elif _is(inspect.isgeneratorfunction, function):
        wrapper = _wrap_generator(notary, target)
    elif _is(inspect.iscoroutinefunction, function):
        wrapper = _wrap_coroutine(notary, target)
    else:
        wrapper = _wrap_function(notary, target)
    try:
        functools.update_wrapper(wrapper, function)
    except AttributeError:
        wrapper.__wrapped__ = function
    _keep_out_of_graphs(wrapper)
    return wrapper


def _is(kind: Callable[[Any], bool], function: Callable) -> bool:
    """Whether a function, or the ``__call__`` of a callable object, is of a kind."""
    return kind(function) or kind(inspect.getattr_static(type(function), "__call__", None))


def _keep_out_of_graphs(wrapper: Any) -> None:
    """Have torch.compile run a wrapper as it is and compile what it calls; a mark that costs
    nothing, where importing the compiler to say the same takes a second."""
    wrapper._torchdynamo_disable = True
    compiler = getattr(getattr(sys.modules.get("torch"), "_C", None), "_dynamo", None)
    skip = getattr(getattr(compiler, "eval_frame", None), "skip_code", None)
    if skip is not None:
        skip(wrapper.__code__)
        skip(_keep_recorder_out_of_graphs.__code__)


def _keep_recorder_out_of_graphs() -> None:
    """Once the compiler is loaded, tell it to leave the recorder's own functions alone; those of
    ``attachments`` and ``aside`` it may see, since a parent's graph runs through them."""
    global _compiler_is_told
    rules = sys.modules.get("torch._dynamo.trace_rules")
    if rules is None or _compiler_is_told:
        return
    _compiler_is_told = True
    for name in [n for n in sys.modules if n.startswith("torchnotary.")]:
        if name not in _SEEN_BY_COMPILER and getattr(sys.modules[name], "__file__", None):
            rules.add(name)


_compiler_is_told = False
_SEEN_BY_COMPILER = (
    "torchnotary.capture",
    "torchnotary.capture.attachments",
    "torchnotary.capture.aside",
    "torchnotary.capture.module_calls",
    "torchnotary.capture.tracing",
)


def _wrap_function(notary: Any, target: Target) -> Callable:
    function = target.function

    def wrapper(*args, **kwargs):
        _keep_recorder_out_of_graphs()
        call = notary._begin(target, args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        try:
            with notary._running(call):
                result = function(*args, **kwargs)
        except BaseException as error:
            notary._finish(call, call.raised, error)
            raise
        notary._finish(call, call.returned, result)
        return result

    return wrapper


def _wrap_coroutine(notary: Any, target: Target) -> Callable:
    function = target.function

    async def wrapper(*args, **kwargs):
        _keep_recorder_out_of_graphs()
        call = notary._begin(target, args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        try:
            result = await stepwise(lambda: notary._running(call), function(*args, **kwargs))
        except BaseException as error:
            notary._finish(call, call.raised, error)
            raise
        notary._finish(call, call.returned, result)
        return result

    return wrapper


@types.coroutine
def stepwise(stretch: Callable[[], Any], coroutine: Any):
    """Drive a coroutine, each resumption inside a context that ``stretch`` gives."""
    send, argument = coroutine.send, None
    while True:
        try:
            with stretch():
                waited = send(argument)
        except StopIteration as stop:
            return stop.value
        try:
            send, argument = coroutine.send, (yield waited)
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            send, argument = coroutine.throw, error


def _wrap_generator(notary: Any, target: Target) -> Callable:
    function = target.function

    def wrapper(*args, **kwargs):
        _keep_recorder_out_of_graphs()
        call = notary._begin(target, args, kwargs)
        generator = function(*args, **kwargs)
        if call is None:
            return (yield from generator)
        step, argument, count = generator.send, None, 0
        while True:
            try:
                with notary._running(call):
                    passing = [step(argument)]
            except StopIteration as stop:
                notary._finish(call, _end_generator, call, stop.value)
                return stop.value
            except BaseException as error:
                notary._finish(call, call.raised, error)
                raise
            notary._observe(call, f"output[{count}]", passing[0])
            count += 1
            try:
                # Popped, so that this frame does not keep what the consumer lets go of.
                step, argument = generator.send, (yield passing.pop())
            except GeneratorExit:
                try:
                    with notary._running(call):
                        generator.close()
                except BaseException as error:
                    notary._finish(call, call.raised, error)
                    raise
                notary._finish(call, call.exhausted, "closed")
                raise
            except BaseException as error:
                step, argument = generator.throw, error

    return wrapper


def _wrap_async_generator(notary: Any, target: Target) -> Callable:
    function = target.function

    async def wrapper(*args, **kwargs):
        _keep_recorder_out_of_graphs()
        call = notary._begin(target, args, kwargs)
        generator = function(*args, **kwargs)
        step, argument, count = generator.asend, None, 0
        while True:
            try:
                if call is None:
                    passing = [await step(argument)]
                else:
                    passing = [
                        await stepwise(lambda: notary._running(call), resume(step, argument))
                    ]
            except StopAsyncIteration:
                if call is not None:
                    notary._finish(call, call.exhausted, "returned")
                return
            except BaseException as error:
                if call is not None:
                    notary._finish(call, call.raised, error)
                raise
            if call is not None:
                notary._observe(call, f"output[{count}]", passing[0])
            count += 1
            try:
                step, argument = generator.asend, (yield passing.pop())
            except GeneratorExit:
                try:
                    await generator.aclose()
                except BaseException as error:
                    if call is not None:
                        notary._finish(call, call.raised, error)
                    raise
                if call is not None:
                    notary._finish(call, call.exhausted, "closed")
                raise
            except BaseException as error:
                step, argument = generator.athrow, error

    return wrapper


async def resume(step: Callable, *arguments: Any) -> Any:
    """A coroutine over one step of an async generator, which is awaitable but is none."""
    return await step(*arguments)


def _end_generator(call: Any, value: Any) -> None:
    """A generator returned; a value it returned is the leaf ``output.return``."""
    call.exhausted("returned")
    if value is not None:
        call.add_output("output.return", value)
