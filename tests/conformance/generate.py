"""Writes the suite anew from making/: ``python tests/conformance/generate.py``.

The same bytes every time: keys, secrets and times are fixed. Files that no case has are removed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "python")]  # for making and trace_reference

from making import (  # noqa: E402
    base64_text,
    batches,
    bundles,
    consistency,
    containers,
    disclosures,
    envelopes,
    evidence,
    held,
    json_text,
    keys,
    logs,
    models,
    openings,
    p256,
    policies,
    quorums,
    revocations,
    statements,
    traces,
    valid,
    values_given,
    witnesses,
)
from making.cases import Case  # noqa: E402

PARTS = (
    valid,
    containers,
    bundles,
    json_text,
    base64_text,
    envelopes,
    keys,
    p256,
    statements,
    logs,
    batches,
    witnesses,
    held,
    consistency,
    disclosures,
    openings,
    evidence,
    traces,
    values_given,
    models,
    policies,
    quorums,
    revocations,
)
MADE = ("bad", "beside", "good", "unproven")


def cases() -> Iterator[Case]:
    """All cases, in the order of cases.jsonl."""
    for part in PARTS:
        yield from part.cases()


def contents() -> dict[str, bytes]:
    """Every file of the suite that is made here, by its path in the folder."""
    made: dict[str, bytes] = {}
    lines = []
    for case in cases():
        if case.file in made:
            raise ValueError(f"two cases are called {case.file}")
        for path, content in case.files.items():
            if made.setdefault(path, content) != content:
                raise ValueError(f"two contents for {path}")
        lines.append(case.line)
    made["cases.jsonl"] = b"".join(line + b"\n" for line in lines)
    return made


def main() -> None:
    made = contents()
    for path, content in made.items():
        target = FOLDER / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for folder in MADE:
        for path in (FOLDER / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(FOLDER)) not in made:
                path.unlink()
    count = made["cases.jsonl"].count(b"\n")
    print(f"{count} cases, {sum(map(len, made.values())) / 2**20:.1f} MiB in {len(made)} files")


if __name__ == "__main__":
    main()
