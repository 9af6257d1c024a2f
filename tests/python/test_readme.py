"""The README keeps its word: its code runs, its names and commands exist, it is short."""

from __future__ import annotations

import re

import pytest
import typer

import torchnotary
from documents import ROOT, run_blocks
from torchnotary import cli

README = ROOT / "README.md"
TEXT = README.read_text()
COMMANDS = (ROOT / "docs" / "cli.md").read_text()
LOG_COMMANDS = (ROOT / "docs" / "log.md").read_text()


def _section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _programs_commands() -> dict[str, set[str]]:
    """Every command of the program by the words that call it, with its options."""
    found = {}

    def walk(command, words):
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*words, name])
        if not hasattr(command, "commands"):
            options = {
                text for param in command.params for text in param.opts + param.secondary_opts
            }
            found[" ".join(words)] = {text for text in options if text.startswith("--")}

    walk(typer.main.get_command(cli.program()), [])
    return found


def test_the_code_under_use_does_what_its_comments_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(README, tmp_path)
    assert (tmp_path / "torchnotary.lock").is_file() and (tmp_path / "run.tnr").is_file()
    assert capsys.readouterr().out.lower().startswith("bitwise")
    assert names["torch"].equal(names["y"], names["model"](names["x"]))
    names["model"][1].eps = 1.0
    with pytest.raises(torchnotary.PinMismatch, match="eps"):
        names["tn"].check_pin(names["model"])
    assert not torchnotary.verify("run.tnr", model=names["model"]).ok
    names["notary"].close()


def test_the_seven_names_are_public():
    rows = re.findall(r"^\| (`.*?) \|", _section("Use"), re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(listed) == 7 and set(listed) <= set(torchnotary.__all__)
    assert all(callable(getattr(torchnotary, name)) for name in listed)


def test_every_command_and_option_it_names_exists():
    known = _programs_commands()
    for cell, description in re.findall(
        r"^\| `torchnotary (.*?) \| (.*) \|$", _section("Command line"), re.MULTILINE
    ):
        words = cell.split("`")[0].split()
        name = next(n for n in (" ".join(words[:2]), words[0]) if n in known or words[0] == n)
        options = set(re.findall(r"--[a-z]+", cell + description))
        assert name in known or name == "keys"
        assert options <= known.get(name, set()), name


def test_every_command_of_the_program_is_in_the_readme_and_has_its_help_among_the_commands():
    table = re.sub(r"[`|,…]", " ", _section("Command line"))
    for name in _programs_commands():
        first = name.split()[0]
        assert re.search(rf"\b{first}\b", table), name
        sessions = COMMANDS + LOG_COMMANDS
        shown = rf"(^\$ (\w+=\w+ )?|`)torchnotary {name}\b"
        assert re.search(shown, sessions, re.MULTILINE), name


def test_every_option_of_the_program_is_among_the_commands():
    for name, options in _programs_commands().items():
        if name.split()[0] in ("keys", "log"):
            continue
        assert f"$ torchnotary {name} --help\n" in COMMANDS
        helped = COMMANDS.split(f"$ torchnotary {name} --help\n")[1].split("\n$ ")[0]
        assert all(option in helped for option in options), name


def test_it_counts_the_ways_to_tamper_as_the_demo_does():
    from torchnotary.demo.tampering import TAMPERINGS

    assert f"tampers in {len(TAMPERINGS)} ways" in TEXT


def test_figures_have_a_place_that_is_marked():
    assert re.search(r"<!-- figures -->\n.*?\n<!-- /figures -->", TEXT, re.DOTALL)


def test_it_is_read_in_three_minutes():
    prose = re.sub(r"```.*?```|<!-- figures -->.*<!-- /figures -->", "", TEXT, flags=re.DOTALL)
    words = re.findall(r"\w+", prose)
    assert len(words) <= 3 * 300
