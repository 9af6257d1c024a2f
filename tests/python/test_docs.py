"""The documentation says what the program does: links, examples, tables and sessions."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import documents
import torchnotary
from documents import DOCUMENTS, ROOT, anchors, blocks, links, rewritten, run_blocks
from torchnotary.verifier.policy_file import FIELDS
from torchnotary.verifier.verdict import STEP_NAMES

DOCS = ROOT / "docs"


def _names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_names(DOCUMENTS))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(document):
    for target in links(document):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.is_file(), f"{document.name}: {target}"
        if fragment:
            assert fragment in anchors(path), f"{document.name}: {target}"


def test_the_examples_of_the_first_divergence_are_what_the_program_answers(tmp_path):
    document = DOCS / "divergence.md"
    assert len(blocks(document.read_text(), "pycon")) == 2
    assert rewritten(document, tmp_path) == document.read_text()


def test_the_examples_of_the_formats_are_what_the_program_answers(tmp_path):
    document = DOCS / "formats.md"
    assert len(blocks(document.read_text(), "pycon")) >= 12
    assert rewritten(document, tmp_path) == document.read_text()


def test_the_examples_with_other_programs_are_what_they_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = DOCS / "interop.md"
    run_blocks(document, tmp_path)["notary"].close()
    assert len(blocks(document.read_text(), "pycon")) == 2
    assert rewritten(document, tmp_path) == document.read_text()


def test_the_policies_of_verification_are_judged_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = DOCS / "verification.md"
    assert len(blocks(document.read_text(), "pycon")) == 1
    assert rewritten(document, tmp_path) == document.read_text()


def test_every_field_of_a_policy_is_described_with_the_step_that_asks():
    section = _section("Policy", DOCS / "verification.md")
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([\w ,]+) \| .* \|$", section, re.MULTILINE)
    assert {field for field, _ in rows} == set(FIELDS)
    for _, steps in rows:
        assert steps == "each of them" or set(steps.split(", ")) <= set(STEP_NAMES)


def test_the_examples_of_recording_run_one_after_the_other(tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    names = run_blocks(DOCS / "recording.md", tmp_path)
    assert names["notary"].stats() == {"recorded": 10, "missed": 0, "queued": 0}
    assert not [
        str(warning.message) for warning in recwarn if "torchnotary" in str(warning.message)
    ]


def test_the_example_of_sealing_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_blocks(DOCS / "weights.md", tmp_path)
    text = capsys.readouterr().out
    assert text.startswith("aten::fill_ would write to sealed memory: 0.weight. Next: ")


def test_the_sessions_of_the_command_line_go_as_printed(tmp_path):
    document = DOCS / "cli.md"
    printed, now = _typed(document.read_text()), _typed(rewritten(document, tmp_path))
    assert len(printed) >= 20
    for (command, shown), (typed, answer) in zip(printed, now, strict=True):
        assert (typed, answer) == (command, shown)


def test_the_sessions_about_logs_go_as_printed(tmp_path, monkeypatch, capfd):
    """Typed in this process, which has imported what they need."""
    from torchnotary import cli

    def run_here(command, folder):
        words = shlex.split(command)
        if words[0] == "python":
            script = folder / words[1]
            exec(compile(script.read_text(), str(script), "exec"), {"__name__": "__main__"})
            return 0, ""
        code = cli.run(words[1:])
        return code, "".join(capfd.readouterr())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(documents, "_run", run_here)
    document = DOCS / "log.md"
    printed, now = _typed(document.read_text()), _typed(rewritten(document, tmp_path))
    assert len(printed) >= 12
    assert printed == now


def _typed(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a document's sessions, with its exit code, and what it answered."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks(text, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line, []))
            else:
                found[-1][1].append(line)
    return [
        (command, _words(answer) if command.endswith(" --help") else _without_chance(answer))
        for command, answer in found
    ]


def _words(answer: list[str]) -> list[str]:
    """A help text without its frame and its markers of types, which typer's versions vary."""
    bare = re.sub(r"[│╭╮╰╯─{}*]|<\w+>|\b[A-Z]{2,}\b", " ", "\n".join(answer))
    return bare.split()


def _without_chance(answer: list[str]) -> list[str]:
    """An answer without what differs from run to run or machine to machine."""
    varying = {
        r"\+[0-9a-f]{8}\+[0-9A-Za-z+/]{44}": "+<vkey>",
        r"\b[0-9a-f]{4}( [0-9a-f]{4})+\b": "<hex>",
        r"\b[0-9a-f]{8,}\b": "<hex>",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?": "<time>",
        r"\b\d+(\.\d+)+[^\s,]*": "<version>",
        r"CPU path \w+": "CPU path <path>",
    }
    text = "\n".join(answer)
    for pattern, name in varying.items():
        text = re.sub(pattern, name, text)
    return text.splitlines()


def test_the_ways_to_tamper_are_those_of_the_demo():
    from torchnotary.demo.tampering import TAMPERINGS

    table = (DOCS / "cli.md").read_text().split("## demo")[1]
    listed = re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert listed == [(tampering.way, tampering.steps[0]) for tampering in TAMPERINGS]


@pytest.mark.filterwarnings("ignore:ComplexHalf", "ignore:torch.quantize")
def test_the_table_of_dtypes_is_the_programs():
    """Every name in the table has a rule and the size it says, and torch has no other that does."""
    import torch

    section = _section("Tensor")
    listed = {
        name: int(size)
        for names, size in re.findall(r"\| ([^|]*`[^|]*) \| (\d+) ", section)
        for name in re.findall(r"`(\w+)`", names)
    }
    for name, size in listed.items():
        commitment = torchnotary.commit(torch.empty(3, dtype=getattr(torch, name)))
        assert (commitment.dtype, commitment.nbytes) == (name, 3 * size)
    for dtype in {value for value in vars(torch).values() if isinstance(value, torch.dtype)}:
        name = str(dtype).removeprefix("torch.")
        try:
            torchnotary.commit(torch.empty(3, dtype=dtype))
        except (torchnotary.UnsupportedTensor, RuntimeError, TypeError):
            continue
        assert name in listed


def test_every_field_of_a_predicate_is_described(notary):
    import torch

    net = torch.nn.Dropout(0.5)
    call = notary.record(lambda x: net(x), model=torch.nn.Linear(1, 1))
    call(torch.ones(2, 2))
    described = set(re.findall(r"`([a-z_.]+)`", _section("Statement")))
    for section, fields in notary.last.predicate.items():
        if not isinstance(fields, dict) or fields.keys() == {"root", "size"}:
            assert section in described
        else:
            assert {f"{section}.{field}" for field in fields} <= described


def test_the_members_of_a_record_and_their_limits_are_the_readers():
    from torchnotary.statement.container import MEMBERS

    unit = {"MiB": 2**20, "GiB": 2**30}
    rows = re.findall(r"^\| (`.*`) \| (\d+) ([MG]iB)", _section(".tnr file"), re.MULTILINE)
    listed = {
        name: int(size) * unit[scale]
        for names, size, scale in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert list(listed) == list(MEMBERS)
    assert all(listed[name] - 1 <= limit <= listed[name] for name, limit in MEMBERS.items())


def test_the_steps_are_listed_in_the_order_they_are_taken():
    text = (DOCS / "verification.md").read_text()
    listed = re.findall(r"^\| \d+ \| ([a-z ]+) \|", text, re.MULTILINE)
    assert tuple(listed) == STEP_NAMES


@pytest.mark.parametrize(
    "document", [DOCS / "recording.md", ROOT / "README.md"], ids=["recording", "readme"]
)
def test_every_environment_variable_the_code_reads_is_described(document):
    sources = [*(ROOT / "python").rglob("*.py"), *(ROOT / "cpp").rglob("*.cpp")]
    read = {
        name
        for source in sources
        for name in re.findall(r"\"(TORCHNOTARY_[A-Z_]+)\"", source.read_text())
    }
    text = (ROOT / document).read_text()
    assert set(re.findall(r"^\| `(TORCHNOTARY_[A-Z_]+)`", text, re.MULTILINE)) == read


def _section(heading: str, document: Path = DOCS / "formats.md") -> str:
    """The text of a document below a heading, up to the next of its level."""
    text = document.read_text()
    return re.split(rf"^## {re.escape(heading)}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]


def test_documents_name_no_machine():
    for document in DOCUMENTS:
        found = re.findall(r"/(?:home|root|work|tmp|Users)/\S+", document.read_text())
        assert not found, f"{Path(document).name}: {found}"
