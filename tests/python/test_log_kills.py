"""A sample of the kills of `make soak`: kill -9 at random moments of a recording process."""

from __future__ import annotations

from log_helpers import run


def test_fifty_kills_lose_no_acknowledged_record_and_contradict_no_checkpoint(tmp_path):
    source = """
        import sys
        from pathlib import Path
        import kills
        print(kills.run(Path(sys.argv[1]), 50, seed=1))
    """
    assert int(run(source, tmp_path).stdout) > 100
