"""Runs the command line as ``python -m torchnotary``."""

from torchnotary.cli import main

if __name__ == "__main__":
    main()
