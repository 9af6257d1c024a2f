"""The ``torchnotary`` program: which commands there are and how their errors become exit codes.

Exit codes: 0 valid, 1 invalid, 2 usage or a file that cannot be opened, 3 inconclusive.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TextIO

import typer

from .commands.output import UsageProblem, note, report, with_next

# Where each command lies: a module of `commands`, which torchnotary-verifier may not have, and the
# function in it.
COMMANDS = {
    "demo": ("showing", "demo"),
    "doctor": ("health", "doctor"),
    "commit": ("models", "commit"),
    "manifest": ("models", "manifest"),
    "pin": ("models", "pin"),
    "verify": ("checking", "verify"),
    "reproduce": ("rerunning", "reproduce"),
    "diff": ("rerunning", "diff"),
    "save": ("logs", "save"),
    "open": ("openings", "open_part"),
    "check-opening": ("openings", "check_opening"),
}
GROUPS = {"keys": "keyring", "log": "logs"}

# Typer carries its own copy of click's exceptions, or click's, depending on its version.
_UsageError = typer.BadParameter.__mro__[1]


def program(first: str | None = None) -> typer.Typer:
    """The program with the one command ``first``, or with all of them where there is none of that
    name: a verification would spend most of its time on building the other commands."""
    app = typer.Typer(
        name="torchnotary",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_describe)
    alone = first in GROUPS or (first in COMMANDS and _installed(COMMANDS[first][0]))
    for name, (home, function) in COMMANDS.items():
        if name == first if alone else _installed(home):
            app.command(name)(getattr(_commands(home), function))
    for name, home in GROUPS.items():
        if not alone or name == first:
            app.add_typer(_commands(home).app, name=name)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (without the program's name) and returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["verify"] and (plain := _plain(given[1:])) is not None:
            return plain() or 0
        app = program(given[0] if given else None)
        return app(given, prog_name="torchnotary", standalone_mode=False) or 0
    except typer.Exit as error:
        return error.exit_code
    except _UsageError as error:
        return report(_as_usage_problem(error), "--json" in given)
    except (typer.Abort, KeyboardInterrupt):
        note(with_next("stopped", ["run the same command again"]))
        return 130
    except BrokenPipeError:
        return _unseen()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # typer leaves with 1, which is INVALID
            return _unseen()
        raise
    except Exception as error:
        return report(error, "--json" in given)


def main() -> None:
    """Entry point: runs the command line of this process and exits with its code."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show an arrow shows its code; printing must not fail.
        stream.reconfigure(errors="backslashreplace")
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _unseen()
    except OSError as error:
        code = report(error, False)
        _let_go_of(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        _let_go_of(sys.stderr)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Standard streams that the caller closed lead nowhere; otherwise the next file to be opened,
    be it a log, would have their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def _plain(words: list[str]) -> Callable[[], None] | None:
    """The command verify with these words, where they can be read without typer's parser."""
    from .commands.checking import verify
    from .commands.plain import arguments

    found = arguments(verify, words)
    return None if found is None else partial(verify, **found)


def _unseen() -> int:
    """The exit code where the reader has gone away, as `head` does: what was found is not known to
    have been seen."""
    _let_go_of(sys.stdout)
    return 128 + signal.SIGPIPE


def _let_go_of(stream: TextIO) -> None:
    """The stream leads nowhere from now on; Python must not complain at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _describe() -> None:
    """Prove what a model actually ran: record, verify, reproduce."""


def _installed(home: str) -> bool:
    return find_spec(f"{__package__}.commands.{home}") is not None


def _commands(home: str):
    return import_module(f"{__package__}.commands.{home}")


def _as_usage_problem(error: Exception) -> UsageProblem:
    """What the parser of command lines refused; a command without its subcommand has shown help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "torchnotary"
    message = error.format_message() or f"{command} needs a command"
    return UsageProblem(message, f"{command} --help")
