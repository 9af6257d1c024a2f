"""The shapes a recorded callable can have: function, coroutine, generator, both at once.

A wrapper asks its notary for a call, runs the original, reports what happened, and passes
results and exceptions on unchanged. Where the profile asks for settings, every stretch of the
original's own execution (one step of a generator, one resumption of a coroutine) runs inside
the scope and nothing between those stretches does.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

from .subjects import NamedModels, plain_function
from .surroundings import CodeFacts


class Target:
    """What is known of a recorded function before it is called: its models and signature.

    ``models`` is what the caller said they are: a module, several by name, or None, in which case
    those the function names are looked up at each call.
    """

    def __init__(self, function: Callable, models: Any, name: str | None) -> None:
        self.function = function
        self.code = CodeFacts.of_function(function, name)
        self.name = name
        self.models_are_named = isinstance(models, Mapping)
        if models is not None:
            models = dict(models) if self.models_are_named else {name or "model": models}
        self.models = models
        self.named = NamedModels(function) if models is None else None
        try:
            self._signature = inspect.signature(function)
        except (TypeError, ValueError):
            self._signature = None
        self.owner_name = self._owner_parameter()
        self._own_object = getattr(function, "__self__", None)
        if plain_function(function) is None and self._own_object is None:
            self._own_object = function  # a callable object is its own self

    def _owner_parameter(self) -> str | None:
        """Name of the parameter that takes ``self`` or ``cls``; None for plain functions."""
        if self._signature is None or inspect.ismethod(self.function):
            return None
        qualname = getattr(self.function, "__qualname__", "").rpartition("<locals>.")[2]
        first = next(iter(self._signature.parameters), None)
        return first if "." in qualname and first in ("self", "cls") else None

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The owner (``self``) and the arguments by name with defaults applied."""
        if self._signature is None:
            arguments: dict[str, Any] = {"args": args} if args else {}
            return None, {**arguments, **kwargs}
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {}
        for name, value in bound.arguments.items():
            kind = self._signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD and _can_stand_alone(value, arguments):
                arguments.update(value)
            elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
                arguments[name] = value
        owner = arguments.pop(self.owner_name, None) if self.owner_name else None
        if owner is None:
            owner = self._own_object
        return owner, arguments


def _can_stand_alone(keywords: dict[str, Any], arguments: dict[str, Any]) -> bool:
    """Whether the names in ``**keywords`` are paths of their own beside the other arguments."""
    return not keywords.keys() & arguments.keys() and all(map(str.isidentifier, keywords))


def wrap(notary: Any, function: Callable, models: Any, name: str | None) -> Callable:
    """The recorded form of ``function``, of the same shape (sync, async, generator)."""
    target = Target(function, models, name)
    if inspect.isasyncgenfunction(function):
        wrapper = _wrap_async_generator(notary, target)
    elif inspect.isgeneratorfunction(function):
        wrapper = _wrap_generator(notary, target)
    elif inspect.iscoroutinefunction(function):
        wrapper = _wrap_coroutine(notary, target)
    else:
        wrapper = _wrap_function(notary, target)
    try:
        functools.update_wrapper(wrapper, function)
    except AttributeError:
        wrapper.__wrapped__ = function
    return wrapper


def _wrap_function(notary: Any, target: Target) -> Callable:
    function = target.function

    def wrapper(*args, **kwargs):
        call = notary._begin(target, args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        try:
            with notary._running():
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
        call = notary._begin(target, args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        try:
            result = await _stepwise(notary, function(*args, **kwargs))
        except BaseException as error:
            notary._finish(call, call.raised, error)
            raise
        notary._finish(call, call.returned, result)
        return result

    return wrapper


@types.coroutine
def _stepwise(notary: Any, coroutine: Any):
    """Drive a coroutine, each resumption inside the notary's scope."""
    send, argument = coroutine.send, None
    while True:
        try:
            with notary._running():
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
        call = notary._begin(target, args, kwargs)
        generator = function(*args, **kwargs)
        if call is None:
            return (yield from generator)
        step, argument, count = generator.send, None, 0
        while True:
            try:
                with notary._running():
                    item = step(argument)
            except StopIteration as stop:
                notary._finish(call, _end_generator, call, stop.value)
                return stop.value
            except BaseException as error:
                notary._finish(call, call.raised, error)
                raise
            notary._observe(call, f"output[{count}]", item)
            count += 1
            try:
                step, argument = generator.send, (yield item)
            except GeneratorExit:
                generator.close()
                notary._finish(call, call.exhausted, "closed")
                raise
            except BaseException as error:
                step, argument = generator.throw, error

    return wrapper


def _wrap_async_generator(notary: Any, target: Target) -> Callable:
    function = target.function

    async def wrapper(*args, **kwargs):
        call = notary._begin(target, args, kwargs)
        generator = function(*args, **kwargs)
        step, argument, count = generator.asend, None, 0
        while True:
            try:
                if call is None:
                    item = await step(argument)
                else:
                    item = await _stepwise(notary, _resume(step, argument))
            except StopAsyncIteration:
                if call is not None:
                    notary._finish(call, call.exhausted, "returned")
                return
            except BaseException as error:
                if call is not None:
                    notary._finish(call, call.raised, error)
                raise
            if call is not None:
                notary._observe(call, f"output[{count}]", item)
            count += 1
            try:
                step, argument = generator.asend, (yield item)
            except GeneratorExit:
                await generator.aclose()
                if call is not None:
                    notary._finish(call, call.exhausted, "closed")
                raise
            except BaseException as error:
                step, argument = generator.athrow, error

    return wrapper


async def _resume(step: Callable, argument: Any) -> Any:
    return await step(argument)


def _end_generator(call: Any, value: Any) -> None:
    """A generator returned; a value it returned is the leaf ``output.return``."""
    call.exhausted("returned")
    if value is not None:
        call.add_output("output.return", value)
