"""Small edits that the cases are written with; see draft.py for what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchnotary.demo.forging import flip_bit
from torchnotary.statement.envelope import decode_base64, encode_base64

Edit = Callable[[Any], Any]


def put(*path_and_value: Any) -> Edit:
    """Puts a value at a path of keys and indices: ``put("record", "seq", 5)``."""
    *path, last, value = path_and_value

    def edit(document: Any) -> None:
        for key in path:
            document = document[key]
        document[last] = value

    return edit


def drop(*path: Any) -> Edit:
    """Takes the member at a path away."""

    def edit(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return edit


def at(*path_and_edit: Any) -> Edit:
    """Edits the value at a path."""
    *path, last, change = path_and_edit

    def edit(document: Any) -> None:
        for key in path:
            document = document[key]
        returned = change(document[last])
        if returned is not None:
            document[last] = returned

    return edit


def instead(old: Any, new: Any) -> Edit:
    """Writes text or bytes in the place of what stands there exactly once."""

    def edit(content: Any) -> Any:
        if content.count(old) != 1:
            raise ValueError(f"{old!r} stands there {content.count(old)} times")
        return content.replace(old, new)

    return edit


def line(number: int, change: Edit) -> Edit:
    """Edits a line of text or of a line file (without its newline); to None takes it away."""

    def edit(content: Any) -> Any:
        newline = b"\n" if isinstance(content, bytes) else "\n"
        lines = content.split(newline)
        changed = change(lines[number])
        lines[number : number + 1] = [] if changed is None else [changed]
        return newline.join(lines)

    return edit


def insert(number: int, new: Any) -> Edit:
    """Inserts a line before one."""
    return lambda content: _lines(content, lambda lines: lines.insert(number, new))


def repeat(number: int) -> Edit:
    """Writes a line twice."""
    return lambda content: _lines(content, lambda lines: lines.insert(number, lines[number]))


def exchange(first: int, second: int) -> Edit:
    """Two lines in each other's place."""

    def swap(lines: list[Any]) -> None:
        lines[first], lines[second] = lines[second], lines[first]

    return lambda content: _lines(content, swap)


def _lines(content: Any, change: Callable[[list[Any]], None]) -> Any:
    newline = b"\n" if isinstance(content, bytes) else "\n"
    lines = content.split(newline)
    change(lines)
    return newline.join(lines)


def flip(bit: int) -> Edit:
    """One bit of bytes flipped; negative ones count from the end."""
    return lambda data: flip_bit(data, bit % (8 * len(data)))


def base64(change: Edit) -> Edit:
    """Edits the bytes that a base64 text stands for."""
    return lambda text: encode_base64(change(decode_base64(text, "the text", 2**24)))


def last_word(change: Edit) -> Edit:
    """Edits what stands after the last space, such as the signature of a note's line."""

    def edit(text: str) -> str:
        words, _, last = text.rpartition(" ")
        return f"{words} {change(last)}"

    return edit
