"""`make soak`: the campaigns against the log of which `make test` runs a sample, at length."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

import os

import kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="processes killed -9")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHNOTARY_HOME"] = f"{folder}/home"
        start = time.monotonic()
        acknowledged = kills.run(Path(folder), chosen.kills, chosen.seed)
        seconds = time.monotonic() - start
        print(f"{chosen.kills} kills, {acknowledged} acknowledged, none lost ({seconds:.0f} s)")


if __name__ == "__main__":
    main()
