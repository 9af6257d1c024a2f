"""What surrounds a call: code, packages, machine, settings, random state.

What cannot change during a process is read once, on the writer's thread; what a call may change
(settings, threads, random state) is read at every call.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..determinism import settings_in_force
from .environment import environment
from .subjects import plain_function

_parsing = threading.RLock()


def renew_lock() -> None:
    """A forked child may have inherited the lock held by a thread it does not have."""
    global _parsing
    _parsing = threading.RLock()


PACKAGES = (
    "torchnotary",
    "torch",
    "numpy",
    "transformers",
    "tokenizers",
    "safetensors",
    "sentence_transformers",
    "torchvision",
    "torchaudio",
    "onnxruntime",
)


class CodeFacts:
    """Which code a record speaks of: the callable, its source's SHA-256, packages, git state."""

    def __init__(self, kind: str, name: str, source_of: Any = None) -> None:
        self.kind = kind
        self.name = name
        self._source_of = source_of
        self._section: dict[str, Any] | None = None

    @classmethod
    def of_function(cls, function: Callable, name: str | None = None) -> CodeFacts:
        plain = plain_function(function) or function
        module = getattr(plain, "__module__", None) or "__main__"
        qualname = getattr(plain, "__qualname__", type(plain).__qualname__)
        return cls("function", name or f"{module}.{qualname}", plain)

    @classmethod
    def of_module(cls, module: Any, name: str | None = None) -> CodeFacts:
        kind = type(module)
        return cls("module", name or f"{kind.__module__}.{kind.__qualname__}", kind)

    def section(self) -> dict[str, Any]:
        """The ``code`` section of the predicate; computed once."""
        if self._section is None:
            path, source = _source(self._source_of)
            self._section = {
                "callable": self.name,
                "git": git_state(str(path.parent)) if path else None,
                "kind": self.kind,
                "packages": package_versions(tuple(p for p in PACKAGES if p in sys.modules)),
                "source": hashlib.sha256(source.encode()).hexdigest() if source else None,
            }
            self._source_of = None
        return self._section


def _source(subject: Any) -> tuple[Path | None, str | None]:
    """File and source text of a function or class; (None, None) where Python keeps none."""
    if subject is None:
        return None, None
    try:
        text = _getsource(subject)
        path = Path(inspect.getsourcefile(subject) or "")
    except (OSError, TypeError):
        return None, None
    return (path if path.is_file() else None), text


def _getsource(subject: Any) -> str:
    """``inspect.getsource``, tried again while another thread parses.

    CPython counts the depth of syntax trees for the whole interpreter, so that two threads that
    parse at once, two notaries' writers say, may disturb each other (cpython issue 106905).
    """
    for _ in range(100):
        try:
            with _parsing:
                return inspect.getsource(subject)
        except SystemError:
            time.sleep(0.001)
    return inspect.getsource(subject)


@functools.lru_cache(maxsize=8)
def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of imported packages as they name themselves, without asking the file system."""
    versions = {}
    for name in names:
        version = getattr(sys.modules.get(name), "__version__", None)
        if version is not None:
            versions[name] = str(version)
    return versions


@functools.lru_cache(maxsize=64)
def git_state(folder: str) -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout a folder lies in; None outside one or without git."""
    if "site-packages" in folder or "dist-packages" in folder:
        return None
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", folder, *words],
            check=True,
            capture_output=True,
            text=True,
            timeout=5,
            env=environment,
        ).stdout

    try:
        commit = git("rev-parse", "HEAD").strip()
        dirty = bool(git("status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty}


@functools.lru_cache(maxsize=1)
def machine() -> dict[str, Any]:
    """What does not change while the process lives: interpreter, platform, CPU capability, versions
    of what torch calls; and the environment as it was first read."""
    facts: dict[str, Any] = {
        "cpu": {"architecture": platform.machine(), "capability": None},
        "cuda": None,
        "driver": None,
        "environment": environment(),
        "libraries": {},
        "platform": f"{platform.system()}-{platform.machine()}",
        "python": platform.python_version(),
        "torch": None,
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch"] = str(torch.__version__)
        facts["cuda"] = torch.version.cuda
        facts["cpu"]["capability"] = torch.backends.cpu.get_cpu_capability()
        facts["libraries"] = _libraries(torch.__config__.parallel_info())
        facts["build"] = hashlib.sha256(_build_of(torch).encode()).hexdigest()
    return facts


def _build_of(torch: Any) -> str:
    """What torch says of its build, without the CPU path in use, which it says among it."""
    lines = torch.__config__.show().splitlines(keepends=True)
    return "".join(line for line in lines if "CPU capability usage" not in line)


_LIBRARIES = {
    "mkl": r"Math Kernel Library Version (.+?)(?: for |$)",
    "onednn": r"MKL-DNN (.+)",
    "openmp": r"^OpenMP (\d+)",
    "parallel": r"ATen parallel backend: (.+)",
}


def _libraries(parallel_info: str) -> dict[str, str]:
    """Versions of the libraries that are loaded and how torch runs in parallel, as torch tells."""
    found = {name: re.search(rule, parallel_info, re.M) for name, rule in _LIBRARIES.items()}
    return {name: match[1].strip() for name, match in found.items() if match}


def execution_now(profile: str, around: dict[str, str]) -> dict[str, Any]:
    """The part of the ``execution`` section that a call may change, read at the call; ``around`` is
    what is interposed on its thread."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"interposed": around, "profile": profile, "settings": {}, "threads": None}
    return {
        "interposed": around,
        "profile": profile,
        "settings": settings_in_force(),
        "threads": torch.get_num_threads(),
    }


def ranks() -> tuple[int, int]:
    """Rank and world size as ``torchrun`` and its like put them in the environment."""

    def number(name: str, default: int) -> int:
        text = os.environ.get(name, "")
        return int(text) if text.isdigit() else default

    return number("RANK", 0), number("WORLD_SIZE", 1)
