"""What a run of the benchmarks leaves: a table for people, JSON for programs, machine facts."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness import Row

_WIDTH = 144


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    import torchnotary
    from torchnotary import _core

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "capability": {
            "torch": torch.backends.cpu.get_cpu_capability(),
            "torchnotary": _core.cpu_path(),
        },
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "torchnotary": torchnotary.__version__,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


class Neighbours:
    """What other processes (and, on a virtual machine, other guests) take of the CPUs from now
    on: figures taken beside a busy neighbour say little."""

    def __init__(self) -> None:
        self._begun = _cpu_seconds()

    def share(self) -> float | None:
        """Their share of all CPU time since then, 0 to 1; None where the system does not say."""
        if self._begun is None:
            return None
        begun, now = self._begun, _cpu_seconds()
        total, busy, own = (after - before for before, after in zip(begun, now, strict=True))
        return max(0.0, busy - own) / total if total > 0 else 0.0


def _cpu_seconds() -> tuple[float, float, float] | None:
    """All CPU seconds since boot, those not idle, and those of this process and its children."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    idle = ticks[3] + ticks[4]  # idle and waiting for I/O (proc_stat(5))
    second = os.sysconf("SC_CLK_TCK")
    return sum(ticks) / second, (sum(ticks) - idle) / second, sum(os.times()[:4])


def write_json(
    path: Path,
    topic: str,
    facts: Mapping[str, Any],
    rows: Sequence[Row],
    about: Mapping[str, Any],
) -> None:
    """Write a topic's rows, the machine's facts and what is said ``about`` the run (quick,
    seconds, others' share of the CPUs), replacing an earlier run's."""
    document = {
        "topic": topic,
        "machine": facts,
        **about,
        "rows": [row.as_json() for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_facts(facts: Mapping[str, Any]) -> None:
    capability = facts["capability"]
    print(
        f"{facts['cpu']}, {facts['cores']} cores, {capability['torch']} (torch), "
        f"{capability['torchnotary']} (torchnotary); "
        f"torch {facts['torch']}, {facts['threads']} threads; Python {facts['python']}"
    )


def print_table(topic: str, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """The rows as a table; notes stand below it, each with the figure it belongs to."""
    title = f"{topic} ({about['seconds']} s"
    if about["others"] is not None:
        title += f"; others had {about['others']:.0%} of the CPUs"
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table = Table(title=title + ")", title_justify="left", title_style="bold", expand=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("unit")
    for column in ("median", "min", "q1", "q3", "p99", "max", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("target")
    for row in rows:
        numbers = (
            getattr(row.summary, name) for name in ("median", "min", "q1", "q3", "p99", "max")
        )
        shown = [_number(number) for number in numbers]
        table.add_row(row.figure, row.unit, *shown, str(row.summary.count), verdict(row))
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"  {row.figure}: {row.note}", highlight=False)


def verdict(row: Row) -> str:
    """``≤ 100 met`` or ``≥ 2 MISSED``; empty where a figure has no target."""
    if row.met is None:
        return ""
    bound = f"≤ {_number(row.target)}" if row.at_least is None else f"≥ {_number(row.at_least)}"
    return f"{bound} {'met' if row.met else 'MISSED'}"


def closing_line(rows: Sequence[Row]) -> str:
    """How many targets were met, and the name of every one that was missed."""
    judged = [row for row in rows if row.met is not None]
    missed = [row.figure for row in judged if not row.met]
    line = f"{len(judged) - len(missed)} of {len(judged)} targets met"
    return line + (f"; missed: {'; '.join(missed)}" if missed else "")


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
