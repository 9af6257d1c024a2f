"""Runs everything that has golden digests under exact/1 wherever it can run, and writes the page
about it (`make bits-travel`).

    python tests/python/bits_travel.py --page docs/bits-travel.md COMMAND...
    python tests/python/bits_travel.py --write-goldens COMMAND...

Each COMMAND (one argument, with its emulator where it needs one) is tests/cpp/exact_golden.cpp,
built for some machine, this machine's first. Models run on this machine's paths alone, since torch
does. Digests are compared with tests/golden; `--write-goldens` writes those of the first path.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

ROOT = Path(__file__).parents[2]
KERNELS, MODELS = ROOT / "tests/golden/exact_kernels.txt", ROOT / "tests/golden/exact_models.txt"
KERNEL_THREADS, MODEL_THREADS = (1, 2, 3, 7), (1, 2, 3)
# The instructions torch's own operators use beside ours, on each path.
ATEN = {"avx512": "avx512", "avx2": "avx2", "portable": "default", "neon": "default"}
TITLES = {"minilm": "MiniLM-L6", "smollm2": "SmolLM2-135M"}
SHOWN = 8  # hexadecimal digits of a digest

Digests = dict[str, str]  # by name


@dataclass(frozen=True)
class Cell:
    """One run of everything there is of its kind."""

    column: str
    digests: Digests
    order: str = ""


def golden(path: Path) -> Digests:
    return _digests(path.read_text().splitlines())


def _digests(lines: Sequence[str]) -> Digests:
    return dict(line.split() for line in lines)


def _output(command: Sequence[str], **environment: str) -> list[str]:
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    return done.stdout.splitlines()


def kernel_cells(commands: Sequence[Sequence[str]]) -> Iterator[Cell]:
    for index, command in enumerate(commands):
        for path in _output(command):
            machine = f"{path}, emulated" if index else path
            for threads in KERNEL_THREADS:
                lines = _output([*command, path, str(threads)])
                yield Cell(f"{machine} ×{threads}", _digests(lines))


def model_cells(name: str, paths: Sequence[str]) -> Iterator[Cell]:
    script = ROOT / "tests/python/exact_model_stages.py"
    for path in paths:
        lines = _output(
            [sys.executable, str(script), name, *map(str, MODEL_THREADS)],
            TORCHNOTARY_CPU=path,
            ATEN_CPU_CAPABILITY=ATEN[path],
        )
        runs: dict[tuple[str, str], list[str]] = {}
        for line in lines:
            order, threads, rest = line.split(" ", 2)
            runs.setdefault((order, threads), []).append(rest)
        weights = _digests(runs.pop(("-", "-")))
        for (order, threads), found in runs.items():
            yield Cell(f"{path} ×{threads}", weights | _digests(found), order)


def by_group(digests: Digests) -> Digests:
    """One digest for the lines of each group: BLAKE3 of the lines as the golden file has them."""
    groups: dict[str, str] = {}
    for name, digest in digests.items():
        group = name.split("/")[0]
        groups[group] = groups.get(group, "") + f"{name} {digest}\n"
    return {group: blake3(lines.encode()).hexdigest() for group, lines in groups.items()}


def _table(first: str, expected: Digests, cells: Sequence[Cell]) -> Iterator[str]:
    """A row for each digest, a column for each path and number of threads."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    yield f"| {first} | digest | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for name, digest in expected.items():
        marks = []
        for column in columns:
            found = [cell.digests.get(name) for cell in cells if cell.column == column]
            wrong = [each for each in found if each is not None and each != digest]
            marks.append(f"✗ `{wrong[0][:SHOWN]}`" if wrong else "✓" if any(found) else "missing")
        yield f"| {name.split('/')[-1]} | `{digest[:SHOWN]}` | {' | '.join(marks)} |"


def _orders_table(expected: Digests, cells: Sequence[Cell]) -> Iterator[str]:
    """How many stages have the golden digest, of those that each order of work computes."""
    columns = list(dict.fromkeys(cell.column for cell in cells))
    yield f"| order of work | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for order in dict.fromkeys(cell.order for cell in cells):
        counts = []
        for column in columns:
            for cell in cells:
                if (cell.order, cell.column) == (order, column):
                    right = sum(expected.get(name) == each for name, each in cell.digests.items())
                    counts.append(f"{right} of {len(cell.digests)}")
        yield f"| {order} | {' | '.join(counts)} |"


def page(kernels: Sequence[Cell], models: dict[str, list[Cell]]) -> str:
    expected, stages = golden(KERNELS), golden(MODELS)
    groups = [Cell(cell.column, by_group(cell.digests)) for cell in kernels]
    lines = [
        "# Do the bits travel?",
        "",
        "Everything that has golden digests under [exact/1](exact-profile.md), run wherever it can",
        "run. `make bits-travel` wrote this page. A ✓ is a digest equal to the committed one, a ✗",
        f"another. Of digests the first {SHOWN} digits are shown.",
        "",
        f"Machine: {_machine()}; *emulated*: aarch64, by {_emulator()}.",
        "",
        "## Kernels",
        "",
        f"{len(expected)} results from inputs that are made by a rule ([exact_golden.h]"
        "(../tests/cpp/exact_golden.h)),",
        "by CPU path and number of threads. The digest of a group is that of its lines in",
        "[exact_kernels.txt](../tests/golden/exact_kernels.txt). Any implementation of the",
        "specification can print the same lines, on whatever device: `bits_travel.py` takes its",
        "program, called with a path and a number of threads, as one more argument.",
        "",
        *_table("group", by_group(expected), groups),
    ]
    for name, cells in models.items():
        mine = {key: value for key, value in stages.items() if key.split("/")[0] == name}
        lines += [
            "",
            f"## {TITLES[name]}",
            "",
            "What each stage gives for the tokens of [exact_model_stages.py]"
            "(../tests/python/exact_model_stages.py),",
            "in each order of work: a ✓ is all of them, with torch's own operators on the same",
            "instructions (`ATEN_CPU_CAPABILITY`). Whole digests are in",
            "[exact_models.txt](../tests/golden/exact_models.txt). Not emulated: torch would have"
            " to be, too.",
            "",
            *_table("stage", mine, cells),
            "",
            "The same cells by order of work: stages with the golden digest.",
            "",
            *_orders_table(mine, cells),
        ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return cpu[0].split(":")[1].strip() if cpu else platform.machine()


def _emulator() -> str:
    return _output(["qemu-aarch64", "--version"])[0]


def write_goldens(command: Sequence[str], path: str) -> None:
    lines = _output([*command, path, "1"])
    KERNELS.write_text("".join(f"{line}\n" for line in lines))
    stages: Digests = {}
    for name in TITLES:
        for cell in model_cells(name, [path]):
            stages = {**cell.digests, **stages}
    MODELS.write_text("".join(f"{name} {digest}\n" for name, digest in stages.items()))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write-goldens", action="store_true")
    parser.add_argument("--page", type=Path)
    parser.add_argument("commands", nargs="+", type=shlex.split, metavar="COMMAND")
    options = parser.parse_args(arguments)
    paths = _output(options.commands[0])
    if options.write_goldens:
        write_goldens(options.commands[0], paths[0])
        return 0
    models = {name: list(model_cells(name, paths)) for name in TITLES}
    text = page(list(kernel_cells(options.commands)), models)
    options.page.write_text(text)
    wrong = sum(mark in line for line in text.splitlines() for mark in ("✗ `", "missing"))
    print(f"{options.page}: {'every cell agrees' if not wrong else f'{wrong} rows do not agree'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
