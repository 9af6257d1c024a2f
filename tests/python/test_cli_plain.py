"""Command lines that are read without typer's parser mean what that parser makes of them."""

from __future__ import annotations

import subprocess
import sys
from functools import wraps
from pathlib import Path

import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from torchnotary.commands import checking
from torchnotary.commands.plain import arguments
from verifier_helpers import saved

OPTIONS = ("--signer", "--checkpoint", "--consistency", "--policy", "--model", "--inputs")
OPTIONS += ("--outputs", "--nonce")
WORDS = st.sampled_from(
    (
        *OPTIONS,
        *OPTIONS,
        "--json",
        "--help",
        "--",
        "-",
        "",
        "--signer=a",
        "--sign",
        "-o",
        "--no-json",
    )
    + ("run.tnr", "a b", "-1", "é", "ab" * 32, "./x")
)


def _reader():
    """Runs typer's parser on words, and returns the keyword arguments it calls the command with."""
    seen = {}

    @wraps(checking.verify)
    def verify(**given):
        seen.update(given)

    app = typer.Typer(add_completion=False)
    app.command()(verify)

    def read(words):
        seen.clear()
        app(words, standalone_mode=False)
        return dict(seen)

    return read


READ = _reader()


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=7))
def test_whatever_is_read_without_typer_is_what_typer_reads(words):
    plain = arguments(checking.verify, words)
    if plain is None:
        return
    read = READ(words)
    assert read == {**dict.fromkeys(read), "as_json": False, **plain}
    assert [type(read[name]) for name in plain] == [type(value) for value in plain.values()]


def test_what_is_plain_is_read_and_what_is_not_is_left_to_typer():
    assert arguments(checking.verify, ["run.tnr", "--model", "m", "--json"]) == {
        "record": "run.tnr",
        "model": "m",
        "as_json": True,
    }
    assert arguments(checking.verify, ["--policy", "p.toml", "r"])["policy"] == Path("p.toml")
    for words in (
        [],
        ["--help"],
        ["run.tnr", "--help"],
        ["run.tnr", "other.tnr"],
        ["run.tnr", "--model"],
        ["run.tnr", "--model", "--json"],
        ["run.tnr", "--model=m"],
        ["run.tnr", "--json", "--json"],
        ["--", "run.tnr"],
    ):
        assert arguments(checking.verify, words) is None


def test_verifying_needs_no_parser_of_command_lines(call, tmp_path):
    """What typer's parser loads (in some versions pydantic) takes longer than to verify."""
    program = (
        "import sys; from torchnotary.cli import run; code = run(sys.argv[1:])\n"
        "assert not {'pydantic', 'rich', 'torch', 'numpy'} & set(sys.modules), sys.modules.keys()\n"
        "sys.exit(code)"
    )
    path = saved(call[0], tmp_path)
    command = [sys.executable, "-c", program, "verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VALID")
