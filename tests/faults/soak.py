"""`make soak`: the campaigns against the log of which `make test` runs a sample, at length."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import injections
import kills
import lives
import power_loss


def run_kills(folder: Path, chosen: argparse.Namespace) -> str:
    acknowledged = kills.run(folder, chosen.kills, chosen.seed)
    return f"{chosen.kills} kills after {acknowledged} acknowledgements"


def run_injections(folder: Path, _: argparse.Namespace) -> str:
    sites, faults = injections.run(folder, sample=False)
    return f"{faults} faults at the calls of {sites} call sites"


def run_power_losses(folder: Path, chosen: argparse.Namespace) -> str:
    return f"{power_loss.run(folder, step=chosen.step)} power losses"


def run_lives(folder: Path, chosen: argparse.Namespace) -> str:
    signed = lives.run(folder, count=chosen.lives, happenings=40, seed=chosen.seed)
    return f"{chosen.lives} lives with {signed} checkpoints, none of two histories"


CAMPAIGNS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "kills": run_kills,
    "injections": run_injections,
    "power-losses": run_power_losses,
    "lives": run_lives,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", nargs="?", choices=CAMPAIGNS, help="one alone")
    parser.add_argument("--kills", type=int, default=500, help="processes killed -9")
    parser.add_argument("--lives", type=int, default=100, help="lives of log folders")
    parser.add_argument("--step", type=int, default=1, help="of the lengths of journals")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not chosen.here:
            _run_each(Path(folder), chosen)
            return
        os.environ["TORCHNOTARY_HOME"] = f"{folder}/home"
        start = time.monotonic()
        done = CAMPAIGNS[chosen.campaign](Path(folder), chosen)
        print(f"{done}: nothing lost, {time.monotonic() - start:.0f} s", flush=True)


def _run_each(folder: Path, chosen: argparse.Namespace) -> None:
    """Each campaign in a process of its own: they fork, and most need a library preloaded."""
    print(f"seed {chosen.seed}", flush=True)
    options = [f"--{name}={getattr(chosen, name)}" for name in ("kills", "lives", "step", "seed")]
    preloaded = {**os.environ, "LD_PRELOAD": str(injections.build(folder))}
    for name in [chosen.campaign] if chosen.campaign else CAMPAIGNS:
        environment = dict(os.environ) if name == "kills" else preloaded
        command = [sys.executable, __file__, name, "--here", *options]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
