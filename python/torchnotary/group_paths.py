"""Paths of the calls of a group: ``calls[2].x``, ``calls[2].output.logits``.

A record of several calls (``with notary.group():``) has the leaves of each under its number, in the
order in which the calls began; behind the number stands the path the leaf has in a record of that
call alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .errors import MalformedRecord

_CALL = re.compile(r"calls\[(0|[1-9][0-9]{0,6})\]\.")


def path_in(number: int, path: str) -> str:
    """The path in a group's record of what has ``path`` in a record of call ``number`` alone."""
    return f"calls[{number}].{path}"


def split(path: str) -> tuple[int, str]:
    """Number of the call a path of a group lies in, and the path there; raises MalformedRecord."""
    found = _CALL.match(path)
    if found is None:
        raise MalformedRecord(
            "a path of a group's record lies in no call of it",
            expected="calls[0].…",
            actual=path[:200],
            next_step="ask its maker for the record again",
        )
    return int(found[1]), path[found.end() :]


def by_call(
    items: Iterable[Any], count: int, path_of: Callable[[Any], str]
) -> list[list[tuple[str, Any]]]:
    """Lines or leaves sorted to the ``count`` calls they lie in, each with its path there.

    Raises MalformedRecord for one of a call that the record does not have.
    """
    calls: list[list[tuple[str, Any]]] = [[] for _ in range(count)]
    for item in items:
        number, path = split(path_of(item))
        if number >= count:
            raise MalformedRecord(
                "a path of a group's record lies in a call that it does not have",
                expected=f"below {count}",
                actual=number,
                next_step="ask its maker for the record again",
            )
        calls[number].append((path, item))
    return calls
