"""How long verifying a .tnr takes: from the command line, process start included and torch not
imported, and in a process that has verified before.

Each cold sample is a new process; the files it reads are in the page cache, and its modules are
compiled already, as an installation leaves them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate, scaled, time_each
from models import minilm

TARGET_SECONDS = 0.25
TARGET_IMPORT_SECONDS = 0.1
TARGET_WARM_MILLISECONDS = 1.0
_IMPORT = """
import time
begun = time.perf_counter()
import torchnotary.verifier.steps
print(time.perf_counter() - begun)
"""
_IMPORTED = re.compile(r"^import time:.*\|\s*(\S+)\s*$", re.MULTILINE)


def measure(bench: Bench) -> list[Row]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(bench.folder / "compiled")
    record, plain = _saved_records(bench.folder)
    verify = [*_command(), "verify", str(record)]
    rounds = bench.rounds(20)
    pairs = alternate(lambda: _run([sys.executable, "-c", "pass"]), lambda: _run(verify), rounds)
    importing = [
        float(_run([sys.executable, "-c", _IMPORT]).stdout) for _ in range(bench.rounds(20))
    ]
    imported = _imported_modules(record)
    warm = time_each(lambda: torchnotary.verify(plain), bench.rounds(20), 50)
    torch_modules = [name for name in imported if name.partition(".")[0] == "torch"]
    return [
        Row(
            "torchnotary verify run.tnr, cold",
            "s",
            Summary.of([nanoseconds / 1e9 for nanoseconds in pairs.ours]),
            TARGET_SECONDS,
            f"MiniLM 16×64 with disclosed inputs and outputs, {record.stat().st_size:,} bytes",
        ),
        Row(
            "torchnotary.verify(run.tnr), warm",
            "ms",
            scaled(warm, 1e-6),
            TARGET_WARM_MILLISECONDS,
            f"nothing disclosed, {plain.stat().st_size:,} bytes",
        ),
        Row(
            "import torchnotary.verifier.steps",
            "s",
            Summary.of(importing),
            TARGET_IMPORT_SECONDS,
        ),
        Row("modules of torch imported by it", "", Summary.of([float(len(torch_modules))]), 0.0),
        Row("modules imported by it", "", Summary.of([float(len(imported))])),
        Row(
            "an empty Python process, for scale",
            "s",
            Summary.of([nanoseconds / 1e9 for nanoseconds in pairs.peer]),
        ),
    ]


def _saved_records(folder: Path) -> tuple[Path, Path]:
    """One record twice: with its inputs and outputs disclosed, and with nothing."""
    model, inputs = minilm()
    notary = torchnotary.Notary(folder / "log-cold-verify")
    with torch.inference_mode():
        notary.record(lambda **given: model(**given), model=model)(**inputs)
    disclosed, plain = folder / "run.tnr", folder / "plain.tnr"
    notary.last.save(disclosed, disclose=("inputs", "outputs"))
    notary.last.save(plain)
    notary.close()
    return disclosed, plain


def _command() -> list[str]:
    """The installed command where there is one beside the interpreter, as people run it."""
    script = Path(sys.executable).parent / "torchnotary"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "torchnotary"]


def _run(command: list[str]) -> subprocess.CompletedProcess:
    """Run a command that must succeed; RuntimeError with what it printed where it does not."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def _imported_modules(record: Path) -> list[str]:
    command = [sys.executable, "-X", "importtime", "-m", "torchnotary", "verify", str(record)]
    return _IMPORTED.findall(_run(command).stderr)
