"""The table in docs/weights.md is what happens: every way to change a weight in every mode."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT

MODES = ("native", "strict", "sealed")


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, str]]:
    program = Path(__file__).with_name("weight_changes.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_documented_outcome_of_each_way_is_what_happens(found):
    text = (ROOT / "docs" / "weights.md").read_text()
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    listed = {way: outcomes for way, *outcomes in rows if "---" not in way}
    assert tuple(listed.pop("way")) == MODES
    assert listed == {way: [outcomes[mode] for mode in MODES] for way, outcomes in found.items()}


def test_no_way_goes_unseen_in_strict_or_sealed_mode(found):
    assert len(found) >= 30
    for way, outcomes in found.items():
        assert outcomes["strict"] == "refused", way
        assert outcomes["sealed"] in ("raises", "faults", "no effect", "noticed"), way
