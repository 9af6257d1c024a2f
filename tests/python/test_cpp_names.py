"""Constants that the C++ headers share with every file that includes them."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "cpp"


def test_no_two_headers_define_a_constant_of_one_name():
    """The linker keeps one of them for both: an unoptimised build once took 512 elements, the
    block of copies, for the 256 of a dot product."""
    headers = defaultdict(set)
    for path in SOURCES.rglob("*.h"):
        for name in re.findall(r"^inline constexpr [^=;{(]*?(\w+) =", path.read_text(), re.M):
            headers[path.parent, name].add(path.name)
    assert "kDotBlock" in {name for _, name in headers}
    assert [(name, files) for (_, name), files in headers.items() if len(files) > 1] == []
