"""What is run again: the callable, the arguments it takes, and the models it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..capture.attachments import Recorder
from ..capture.subjects import is_module, plain_function
from ..capture.target import ModuleTarget, Target
from ..errors import NotaryError
from ..leaves import Leaf, flatten_arguments
from ..structure import unwrap

_Kind = inspect.Parameter


class Subject:
    """A callable as it was recorded: a function, a decorated function or a module."""

    def __init__(self, call: Any) -> None:
        if not callable(call):
            raise NotaryError(
                f"{type(call).__name__} cannot be called",
                next_step="give the function or the module that was recorded",
            )
        self.call = call
        self.is_module = is_module(call)
        if self.is_module:
            inner = unwrap(call)
            self._target = Target(inner.forward, inner, None)
            self._function: Callable = inner.forward
        else:
            self._target = recorded_target(call) or Target(call, None, None)
            self._function = call
        # A recorded method was bound with its ``self``, which a bound method hides again.
        bound_method = inspect.ismethod(call) and self._target.owner_name is not None
        self._owner = (call.__self__,) if bound_method else ()
        try:
            self._signature = inspect.signature(self._function)
        except (TypeError, ValueError):
            self._signature = None

    def prefixes_names(self, models: Mapping[str, Any]) -> bool:
        """Whether names of tensors and modules begin with their model's own name."""
        return self._target.models_are_named or len(models) > 1

    def arguments(self, inputs: Any) -> tuple[tuple, dict[str, Any]]:
        """Positional and keyword arguments from a mapping by name, a tuple, or one value.

        Raises NotaryError where the callable does not take them.
        """
        if isinstance(inputs, Mapping):
            args, kwargs = self._from_names(dict(inputs))
        else:
            args, kwargs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), {}
        if self._signature is not None:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                raise NotaryError(
                    f"{self.name} does not take these inputs: {error}",
                    next_step="give every argument the recorded call had, by name",
                ) from error
        return args, kwargs

    def bound(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, defaults applied, as a record lists them: without modules."""
        _, arguments = self._target.bind((*self._owner, *args), kwargs)
        return {name: value for name, value in arguments.items() if not is_module(value)}

    def leaves(self, args: tuple, kwargs: dict[str, Any]) -> list[Leaf]:
        """The leaves of the arguments, as a record lists them."""
        return flatten_arguments(self.bound(args, kwargs))

    def models(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The modules the call runs, by name; empty where none can be found."""
        found = self._target.models(*self._target.bind((*self._owner, *args), kwargs))
        return {name: unwrap(module) for name, module in found.items()}

    surroundings = models

    @property
    def name(self) -> str:
        """The callable's name, for people."""
        return getattr(self.call, "__qualname__", type(self.call).__qualname__)

    def _from_names(self, inputs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        if self._signature is None:
            return tuple(inputs.pop("args", ())), inputs
        parameters = self._signature.parameters.values()
        spread = next((p.name for p in parameters if p.kind is _Kind.VAR_POSITIONAL), None)
        rest = next((p.name for p in parameters if p.kind is _Kind.VAR_KEYWORD), None)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in parameters:
            name = parameter.name
            if name not in inputs:
                if spread in inputs and parameter.kind is _Kind.POSITIONAL_OR_KEYWORD:
                    if parameter.default is not _Kind.empty:
                        args.append(parameter.default)
            elif parameter.kind is _Kind.VAR_POSITIONAL:
                args.extend(inputs.pop(name))
            elif parameter.kind is _Kind.POSITIONAL_ONLY or (
                parameter.kind is _Kind.POSITIONAL_OR_KEYWORD and spread in inputs
            ):
                args.append(inputs.pop(name))
            elif parameter.kind is not _Kind.VAR_KEYWORD:
                kwargs[name] = inputs.pop(name)
        if rest in inputs and isinstance(inputs[rest], Mapping):
            kwargs.update(inputs.pop(rest))
        return tuple(args), {**kwargs, **inputs}


def recorded_target(call: Any) -> Target | ModuleTarget | None:
    """The target a decorated function, or a method of an attached module, was recorded under, which
    knows its models; None for a function that no notary decorated."""
    if isinstance(call, Recorder):
        return call.target
    for _ in range(32):
        for cell in getattr(call, "__closure__", None) or ():
            try:
                if isinstance(cell.cell_contents, Target):
                    return cell.cell_contents
            except ValueError:  # an empty cell
                continue
        inner = getattr(call, "__wrapped__", None) or getattr(call, "__func__", None)
        if inner is None:
            return None
        call = inner
    return None


def is_generator(call: Any) -> bool:
    """Whether calling it gives a generator, sync or async, through decorators too."""
    function = plain_function(call)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
