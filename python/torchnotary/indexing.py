"""Indices as torch reads them, in the one form an opening has: an item for every axis.

None                   a new axis of size 1
(i,)                   element ``i`` of an axis, which is dropped
(start, count, step)   elements start, start + step, …; (0, 0, 1) where there are none, and a
                       step of 1 where there is one
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .errors import UnsupportedIndex
from .statement.lines import brief

Item = tuple[int, ...] | None
_STEP = "index with integers, slices of a step of 1 or more, None and one Ellipsis"


def canonical_items(index: Any, shape: Sequence[int]) -> list[Item]:
    """The items of ``index``, whatever torch takes that selects a regular region, on ``shape``.

    Raises `UnsupportedIndex`, naming the axis, for an index out of range, one with too many items,
    and the kinds torch calls advanced: booleans, lists, tensors and arrays.
    """
    items = _spelled_out(index if isinstance(index, tuple) else (index,), len(shape))
    axes = iter(enumerate(shape))
    return [None if item is None else _item(item, *next(axes)) for item in items]


def as_index(items: Sequence[Item]) -> tuple[Any, ...]:
    """The index that has these canonical items, as Python writes it."""
    return tuple(item if item is None else _as_python(*item) for item in items)


def parse_index(text: str) -> tuple[Any, ...]:
    """An index as typed between brackets, such as ``3, :, ::2``; raises `UnsupportedIndex`."""
    parts = [part.strip() for part in text.split(",")]
    if not parts[-1] and (len(parts) > 1 or not text.strip()):
        del parts[-1]  # as in (3,) and ()
    return tuple(_parse_item(part, text) for part in parts)


def index_text(index: Sequence[Any]) -> str:
    """The index as `parse_index` reads it; one without items is ``...``."""
    return ", ".join(map(_item_text, index)) or "..."


def _item_text(item: Any) -> str:
    if not isinstance(item, slice):
        return str(item)
    step = "" if item.step is None else f":{item.step}"
    return f"{item.start}:{item.stop}{step}"


def _spelled_out(index: tuple[Any, ...], rank: int) -> list[Any]:
    """The index with its Ellipsis, or else its end, replaced by whole axes."""
    named = sum(item is not None and item is not Ellipsis for item in index)
    if named > rank:
        _refuse("the index has more items than the tensor has axes", f"at most {rank}", named)
    dots = [place for place, item in enumerate(index) if item is Ellipsis]
    if len(dots) > 1:
        _refuse("the index has more than one Ellipsis", 1, len(dots))
    place = dots[0] if dots else len(index)
    return [*index[:place], *[slice(None)] * (rank - named), *index[place + 1 :]]


def _item(item: Any, axis: int, size: int) -> tuple[int, ...]:
    if isinstance(item, slice):
        return _slice(item, axis, size)
    kind = type(item)
    try:
        number = None if _is_advanced(kind) else operator.index(item)
    except TypeError:
        number = None
    if number is None:
        _refuse(
            f"axis {axis} is indexed by a {kind.__name__}", "an integer or a slice", brief(item, 40)
        )
    if not -size <= number < size:
        _refuse(f"axis {axis} has no element {number}", f"from {-size} to {size - 1}", number)
    return (number % size,)


def _slice(item: slice, axis: int, size: int) -> tuple[int, int, int]:
    try:
        start, stop, step = item.indices(size)
    except (TypeError, ValueError):
        _refuse(f"axis {axis} has a slice that is none", "integers and a step of 1 or more", item)
    if step < 1:
        _refuse(f"axis {axis} is gone through backwards", "a step of 1 or more", step)
    count = len(range(start, stop, step))
    if count == 0:
        return 0, 0, 1
    return start, count, step if count > 1 else 1


def _as_python(start: int, count: int | None = None, step: int = 1) -> int | slice:
    if count is None:
        return start
    stop = start + (count - 1) * step + 1 if count else start
    return slice(start, stop, step if step > 1 else None)


def _parse_item(part: str, text: str) -> Any:
    if part == "...":
        return Ellipsis
    if part == "None":
        return None
    try:
        if ":" not in part:
            return int(part)
        bounds = [int(bound) if bound.strip() else None for bound in part.split(":")]
    except ValueError:
        _refuse(f"{brief(text, 40)} is not an index", "such as 3, :, ::2", brief(part, 40))
    if len(bounds) > 3:
        _refuse(f"{brief(text, 40)} is not an index", "start:stop:step", brief(part, 40))
    return slice(*bounds)


def _is_advanced(kind: type) -> bool:
    """Whether torch takes values of this type as masks or lists, though Python could take some for
    integers: booleans, and tensors and arrays of one element. NumPy's integers are none."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.integer):
        return False
    return issubclass(kind, bool) or hasattr(kind, "shape")


def _refuse(message: str, expected: Any, actual: Any) -> NoReturn:
    raise UnsupportedIndex(message, expected=expected, actual=actual, next_step=_STEP)
