"""How long the command line takes to verify a .tnr, process start included, torch not imported.

Each sample is a new process; the files it reads are in the page cache.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

import torchnotary
from harness import Bench, Row, Summary, alternate
from models import minilm

TARGET_SECONDS = 0.4
_IMPORTED = re.compile(r"^import time:.*\|\s*(\S+)\s*$", re.MULTILINE)


def measure(bench: Bench) -> list[Row]:
    record = _saved_record(bench.folder)
    verify = [*_command(), "verify", str(record)]
    rounds = bench.rounds(20)
    pairs = alternate(lambda: _run([sys.executable, "-c", "pass"]), lambda: _run(verify), rounds)
    imported = _imported_modules(record)
    torch_modules = [name for name in imported if name.partition(".")[0] == "torch"]
    return [
        Row(
            "torchnotary verify run.tnr, cold",
            "s",
            Summary.of([nanoseconds / 1e9 for nanoseconds in pairs.ours]),
            TARGET_SECONDS,
            f"MiniLM 16×64 with disclosed inputs and outputs, {record.stat().st_size:,} bytes",
        ),
        Row("modules of torch imported by it", "", Summary.of([float(len(torch_modules))]), 0.0),
        Row("modules imported by it", "", Summary.of([float(len(imported))])),
        Row(
            "an empty Python process, for scale",
            "s",
            Summary.of([nanoseconds / 1e9 for nanoseconds in pairs.peer]),
        ),
    ]


def _saved_record(folder: Path) -> Path:
    model, inputs = minilm()
    notary = torchnotary.Notary(folder / "log-cold-verify")
    with torch.inference_mode():
        notary.record(lambda **given: model(**given), model=model)(**inputs)
    path = folder / "run.tnr"
    notary.last.save(path, disclose=("inputs", "outputs"))
    notary.close()
    return path


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
