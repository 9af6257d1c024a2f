"""Runs the conformance suite against any verifier of torchnotary records; needs Python alone.

    python tests/conformance/run.py --command "torchnotary verify --json"

The command is given a record's path and the options of its case (``--signer FILE``, ``--checkpoint
FILE``, …). It prints a verdict/1 JSON document and ends with the verdict's exit code; with
``--exit-codes`` nothing but the code is looked at. Prints what is wrong, and ends with 1 if
anything is.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
# Options whose value is text; the others name files of the suite.
TEXTS = ("nonce",)
FAILED = "failed"

Case = dict[str, Any]


def load_cases(pattern: str = "*") -> list[Case]:
    """The cases whose file's name matches a pattern such as ``bad/zip-*``, in their order."""
    lines = (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [case for case in found if fnmatch.fnmatch(case["file"].removesuffix(".tnr"), pattern)]


def options_of(case: Case) -> dict[str, str]:
    """The options of a case by name, files by their path."""
    return {
        name: value if name in TEXTS else str(FOLDER / value)
        for name, value in case["options"].items()
    }


def faults(case: Case, exit_code: int, verdict: Any = None) -> list[str]:
    """What is wrong about an answer, in words: an exit code, and a verdict/1 document unless only
    exit codes are looked at."""
    found = []
    if exit_code != case["exit_code"]:
        found.append(f"exit code {exit_code} instead of {case['exit_code']}")
    if verdict is None:
        return found
    outcomes = {step["name"]: step["outcome"] for step in verdict["steps"]}
    for step, outcome in case["steps"].items():
        if outcomes.get(step) != outcome:
            found.append(f"{step} {outcomes.get(step, 'missing')} instead of {outcome}")
    for step, outcome in outcomes.items():
        if outcome == FAILED and case["steps"].get(step) != FAILED:
            found.append(f"{step} failed")
    return found


def answer(command: list[str], case: Case, codes_only: bool, home: str) -> list[str]:
    """The faults of what a command answers to a case."""
    arguments = [f"--{name}={value}" for name, value in options_of(case).items()]
    done = subprocess.run(
        [*command, str(FOLDER / case["file"]), *arguments],
        capture_output=True,
        timeout=60,
        env={**os.environ, "TORCHNOTARY_HOME": home},  # nobody's keys and logs
    )
    if codes_only:
        return faults(case, done.returncode)
    try:
        return faults(case, done.returncode, json.loads(done.stdout))
    except (ValueError, LookupError, TypeError):
        return [f"no verdict on stdout, exit code {done.returncode}: {done.stderr[-200:]!r}"]


def main(argv: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--command", required=True, help="what verifies a record")
    parser.add_argument("--exit-codes", action="store_true", help="look at nothing but these")
    parser.add_argument("--only", default="*", metavar="PATTERN", help='such as "bad/zip-*"')
    given = parser.parse_args(argv)
    cases, command = load_cases(given.only), shlex.split(given.command)
    wrong = 0
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda case: answer(command, case, given.exit_codes, home), cases)
        for case, complaints in zip(cases, found, strict=True):
            for complaint in complaints:
                print(f"{case['file']}: {complaint} ({case['why']})")
            wrong += bool(complaints)
    print(f"{len(cases) - wrong} of {len(cases)} cases as they should be")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
