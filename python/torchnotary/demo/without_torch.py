"""Runs torchnotary's command line in a process where torch cannot be imported.

``python -m torchnotary.demo.without_torch verify run.tnr`` is ``torchnotary verify run.tnr``.
"""

from __future__ import annotations

import sys


class NoTorch:
    """A finder that refuses torch and everything below it."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch cannot be imported in this process", name="torch")


def main() -> None:
    sys.meta_path.insert(0, NoTorch)
    from torchnotary.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
