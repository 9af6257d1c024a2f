"""Runs one target under Atheris: ``fuzz.py TARGET [libFuzzer arguments] [CORPUS]``."""

from __future__ import annotations

import gc
import sys
from random import Random
from types import FunctionType

import atheris
import mutators
import targets

from torchnotary.errors import NotaryError

OURS = ("torchnotary", "targets")
ZIPS = ("members", "record")
PLAIN = (
    *("log_proof", "consistency", "note", "checkpoint", "witness", "policy", "public_key"),
    "entries",
)


def instrument() -> None:
    """Counts branches of ours alone. Atheris's import hook does not see through the loader of an
    editable installation."""
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and (function.__module__ or "").startswith(OURS):
            atheris.instrument_func(function)


def main() -> None:
    name = sys.argv.pop(1)
    instrument()
    target = targets.TARGETS[name]

    def once(data: bytes) -> None:
        try:
            encoded = target(data)
        except NotaryError:
            return
        if encoded != data:
            raise AssertionError(f"accepted, and encoded otherwise: {encoded!r}")

    def changed(data: bytes, limit: int, seed: int) -> bytes:
        random = Random(seed)
        # Chance alone also finds what keeps no form.
        if not data or random.random() < 0.2:
            return atheris.Mutate(data, limit)
        by = mutators.members if name in ZIPS else mutators.lines
        if name == "evidence":
            by = mutators.headed
        return by(data, limit, random, atheris.Mutate)

    own = {} if name in PLAIN else {"custom_mutator": changed}
    atheris.Setup(sys.argv, once, **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
