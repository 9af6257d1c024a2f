"""How commands speak: results on stdout, the rest on stderr, and a next step for every refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from ..errors import (
    KeyLocked,
    MalformedPolicy,
    MalformedProof,
    MalformedRecord,
    NotaryError,
    RootMismatch,
    UnknownSigner,
    UnsupportedIndex,
    VerificationFailed,
)
from ..verifier.verdict import INCONCLUSIVE, INVALID, USAGE, printable

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class UsageProblem(Exception):
    """Something about the command itself: exit code 2, with the next command to type."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


def result(text: Any, document: Any, as_json: bool) -> None:
    """Prints a result: ``text`` for people, ``document`` for programs."""
    if as_json:
        print(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True))
    else:
        print(_clean(text))


def exactly(text: str) -> None:
    """Prints a signed text as it is: in UTF-8 whatever the terminal speaks, without a line more."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Says something beside the result, on stderr; where that fails, the exit code remains."""
    with suppress(OSError):
        print(_clean(text), file=sys.stderr)


def _clean(text: Any) -> str:
    """Text without control characters but line ends: much of it comes out of other people's
    records, and must not reach the terminal as commands."""
    return "\n".join(one_line(line) for line in str(text).split("\n"))


def one_line(text: Any) -> str:
    """The whole of a text on one line, so that what somebody wrote cannot look like another."""
    return printable(str(text), sys.maxsize)


def with_next(text: Any, next_steps: Sequence[str]) -> str:
    """A result's text, and below it what to do next."""
    lines = [("      " if number else "Next: ") + step for number, step in enumerate(next_steps)]
    return "\n".join([str(text), *lines])


def entries(count: int) -> str:
    """``count`` entries of a log, in words."""
    return "1 entry" if count == 1 else f"{count} entries"


def leave(code: int) -> NoReturn:
    """Ends the command with an exit code."""
    raise typer.Exit(code)


def report(error: Exception, as_json: bool) -> int:
    """Prints an error in one sentence with its next step; returns the exit code it stands for."""
    message, next_step, code = _read(error)
    if as_json:
        document = {"error": message, "exit_code": code, "next": [next_step], "type": "error/1"}
        with suppress(OSError):  # it is stdout that fails, which stderr may say
            result(None, document, True)
            sys.stdout.flush()
            return code
    note(with_next(message, [next_step]))
    return code


def _read(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, UsageProblem):
        return str(error), error.next_step, USAGE
    if isinstance(error, NotaryError):
        return f"{error.reason}{error.values}", _next_step(error), _exit_code(error)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}", "check the path, then run it again", USAGE
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return f"{error.name} is not installed", f"pip install {package}", USAGE
    return f"{type(error).__name__}: {error}", "torchnotary doctor", USAGE


def _next_step(error: NotaryError) -> str:
    if error.next_step:
        return error.next_step
    if isinstance(error, (MalformedRecord, MalformedProof, RootMismatch, VerificationFailed)):
        return "ask whoever made it for it again; this one is damaged, or not what it should be"
    return "torchnotary doctor"


def _exit_code(error: NotaryError) -> int:
    if isinstance(error, (KeyLocked, MalformedPolicy, UnsupportedIndex)):
        return USAGE
    return INCONCLUSIVE if isinstance(error, UnknownSigner) else INVALID
