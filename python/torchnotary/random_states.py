"""The random states of a process: noticed cheaply when one moves, read as bytes, restored.

Looked at are torch's default CPU generator, those of CUDA once it is in use, Python's ``random``
and NumPy's ``numpy.random``, each as long as its library is loaded. Where a state lies in the
memory of one object, that memory is compared and the state is read only when it moved: asking
Python or NumPy for theirs costs more than all else that is asked of the caller. Generators that
somebody made are not looked at.

    torch    torch.get_rng_state()                               5,056 bytes
    cuda     torch.cuda.get_rng_state(i) of every device, in order
    python   624 × u32le, u32le position, u8 whether a sample is kept, f64le that sample
    numpy    the same (MT19937 alone, which numpy.random draws from unless told otherwise)
"""

from __future__ import annotations

import importlib
import random
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import _core, _libtorch

NAMES = ("torch", "cuda", "python", "numpy")
_MT19937 = struct.Struct("<625IBd")

States = tuple[bytes | None, ...]


def random_states() -> States:
    """Every state as it is now, in the order of NAMES; None of what is not loaded or not in use.

    A state that did not move is the same object again.
    """
    return (_torch_state(), _cuda_state(), _python.state(), _numpy.state())


def drawn(before: States, after: States) -> dict[str, bytes]:
    """The states of ``before`` that are others in ``after``, by name."""
    return {
        name: old
        for name, old, new in zip(NAMES, before, after, strict=True)
        if old is not new and old is not None and old != new
    }


@contextmanager
def in_force(states: Mapping[str, bytes]) -> Iterator[None]:
    """``states`` (by name) inside the block, and afterwards what was there before; imports the
    libraries they are of. Raises ValueError for bytes that are no such state."""
    _load(states)
    before = random_states()
    try:
        set_states(states)
        yield
    finally:
        for name, old in zip(NAMES, before, strict=True):
            if old is not None:
                _SETTERS[name](old)


def set_states(states: Mapping[str, bytes]) -> None:
    """Put ``states`` (by name) in force; imports the libraries they are of. Raises ValueError for
    bytes that are no such state."""
    _load(states)
    for name, state in states.items():
        _SETTERS[name](state)


def _load(names: Iterable[str]) -> None:
    for name in names:
        if name not in _SETTERS:
            raise ValueError(f"there is no random state named {name!r}")
        importlib.import_module(_LIBRARIES[name])


def _torch_state() -> bytes | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    extension = _libtorch.available()
    if extension is not None:
        return extension.cpu_random_state()
    return torch.default_generator.get_state().numpy().tobytes()


def _set_torch(state: bytes) -> None:
    torch = sys.modules["torch"]
    torch.default_generator.set_state(_tensor(torch, state))


def _cuda_state() -> bytes | None:
    cuda = sys.modules.get("torch.cuda")
    if cuda is None or not cuda.is_initialized():
        return None
    try:
        states = [generator.get_state() for generator in cuda.default_generators]
    except RuntimeError:
        return None  # a graph is being captured, and what it draws is fixed when it is replayed
    return b"".join(state.numpy().tobytes() for state in states)


def _set_cuda(state: bytes) -> None:
    cuda = sys.modules["torch.cuda"]
    if not cuda.is_available():
        return  # another device runs the call, and draws otherwise
    cuda.init()
    generators = cuda.default_generators
    size, rest = divmod(len(state), len(generators))
    if rest:
        raise ValueError(f"a CUDA random state of {len(state)} bytes is not of {len(generators)}")
    for index, generator in enumerate(generators):
        part = state[index * size : (index + 1) * size]
        generator.set_state(_tensor(sys.modules["torch"], part))


def _tensor(torch: Any, state: bytes) -> Any:
    try:
        return torch.frombuffer(bytearray(state), dtype=torch.uint8)
    except RuntimeError as error:
        raise ValueError(f"these bytes are no random state: {error}") from error


class _Python:
    """The state of ``random``: one object's memory, and the second of a pair of samples."""

    def __init__(self) -> None:
        self._memory: _core.MemorySnapshot | None = None
        self._sample: float | None = None
        self._state = b""

    def state(self) -> bytes:
        instance = random._inst
        memory = self._memory
        if memory is None or instance.gauss_next is not self._sample or not memory.holds():
            # Seen before it is read: a draw in between is noticed the next time.
            memory = _core.MemorySnapshot([instance])
            self._sample, self._state = instance.gauss_next, _read_python()
            self._memory = memory
        return self._state


class _NumPy:
    """The state of ``numpy.random``: the memory of the generator and of what draws from it."""

    def __init__(self) -> None:
        self._drawing: Any = None
        self._generator: Any = None
        self._memory: _core.MemorySnapshot | None = None
        self._state: bytes | None = None

    def state(self) -> bytes | None:
        drawing = self._drawing or self._found()
        if drawing is None:
            return None
        generator = drawing._bit_generator
        if generator is not self._generator or not self._memory.holds():
            memory = _core.MemorySnapshot([drawing, generator])
            usual = type(generator).__name__ == "MT19937"
            self._state = _read_numpy() if usual else None
            self._memory, self._generator = memory, generator
        return self._state

    def _found(self) -> Any:
        if "numpy" in sys.modules:
            # NumPy loads it when it is first named, and the call to come may be the first.
            self._drawing = importlib.import_module(_LIBRARIES["numpy"])._rand
        return self._drawing


def _read_python() -> bytes:
    _, words, sample = random.getstate()
    return _encoded(words, sample is not None, sample or 0.0)


def _set_python(state: bytes) -> None:
    words, has_sample, sample = _decoded(state)
    random.setstate((3, words, sample if has_sample else None))


def _read_numpy() -> bytes:
    _, words, position, has_sample, sample = sys.modules["numpy.random.mtrand"].get_state()
    return _encoded((*words.tolist(), position), bool(has_sample), sample)


def _set_numpy(state: bytes) -> None:
    (*words, position), has_sample, sample = _decoded(state)
    library = sys.modules["numpy.random.mtrand"]
    library.set_state(("MT19937", words, position, int(has_sample), sample))


def _encoded(words: tuple[int, ...], has_sample: bool, sample: float) -> bytes:
    return _MT19937.pack(*words, has_sample, sample)


def _decoded(state: bytes) -> tuple[tuple[int, ...], bool, float]:
    if len(state) != _MT19937.size:
        raise ValueError(f"an MT19937 state has {_MT19937.size} bytes, not {len(state)}")
    *words, has_sample, sample = _MT19937.unpack(state)
    return tuple(words), bool(has_sample), sample


_python, _numpy = _Python(), _NumPy()
_LIBRARIES = {
    "torch": "torch",
    "cuda": "torch.cuda",
    "python": "random",
    "numpy": "numpy.random.mtrand",
}
_SETTERS: dict[str, Callable[[bytes], None]] = {
    "torch": _set_torch,
    "cuda": _set_cuda,
    "python": _set_python,
    "numpy": _set_numpy,
}
