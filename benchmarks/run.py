"""Runs the benchmarks: a table of every topic on stdout, its JSON in benchmarks/results.

A missed target is printed as missed and ends nothing: figures depend on the machine and on what
else runs on it. Everything is written to a scratch folder beside the results (a real disk, so
that durable means durable), never to the user's own keys and logs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path

# Topic, which is also its JSON file, to its module.
TOPICS = {
    "empty-call": "empty_call",
    "share-of-forward": "share_of_forward",
    "end-to-end": "end_to_end",
    "kept-bytes": "kept_bytes",
    "cold-verify": "cold_verify",
    "profiles": "profiles",
    "hashing": "hashing",
    "openings": "openings",
    "manifest-files": "manifest_files",
    "durable-records": "durable_records",
    "log-rates": "log_rates",
    "tracing": "tracing",
    "exact-gemm": "exact_gemm",
    "exact-models": "exact_models",
}
# Those that take too long to be run unless they are named.
LARGE = {"log-large": "log_large"}
# What would redirect or silence the recorder; TORCHNOTARY_CPU and _NUM_THREADS stay in force.
_REDIRECTIONS = ("KEY", "LOG", "PROFILE", "DISABLE")


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=options.results) as scratch:
        os.environ["TORCHNOTARY_HOME"] = str(Path(scratch) / "home")
        for name in _REDIRECTIONS:
            os.environ.pop(f"TORCHNOTARY_{name}", None)
        _measure(options, Path(scratch))
    return 0


def _measure(options: argparse.Namespace, scratch: Path) -> None:
    # Imported late: the folders above must be set first, and --help needs no torch.
    import report
    from harness import Bench

    facts = report.machine()
    report.print_facts(facts)
    rows = []
    for topic in options.only or TOPICS:
        _progress(f"measuring {topic} …")
        folder = scratch / topic
        folder.mkdir()
        bench = Bench(folder, options.quick, options.rounds)
        neighbours, begun = report.Neighbours(), time.perf_counter()
        measured = importlib.import_module({**TOPICS, **LARGE}[topic]).measure(bench)
        about = {
            "quick": options.quick,
            "seconds": round(time.perf_counter() - begun, 1),
            "others": neighbours.share(),
        }
        report.print_table(topic, measured, about)
        report.write_json(options.results / f"{topic}.json", topic, facts, measured, about)
        rows += measured
    print(report.closing_line(rows))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=[*TOPICS, *LARGE], help="a topic; repeatable"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--rounds", type=_positive, help="rounds of every figure")
    default = Path(__file__).parent / "results"
    parser.add_argument("--results", type=Path, default=default, help="folder for the JSON files")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {number}")
    return number


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
