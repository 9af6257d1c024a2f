"""Which elements of two sequences belong together, where one has a few more or others.

The greedy algorithm of E. W. Myers, *An O(ND) Difference Algorithm and Its Variations* (1986).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

# Beyond so many insertions and deletions two sequences are taken to have nothing more in common.
MAX_EDITS = 500


def matches(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Ascending pairs (i, j) of equal elements, a longest common subsequence of the two."""
    begin = 0
    shorter = min(len(a), len(b))
    while begin < shorter and a[begin] == b[begin]:
        begin += 1
    tail = 0
    while tail < shorter - begin and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    inner = _myers(a[begin : len(a) - tail], b[begin : len(b) - tail])
    return [
        *((i, i) for i in range(begin)),
        *((begin + i, begin + j) for i, j in inner),
        *((len(a) - i, len(b) - i) for i in range(tail, 0, -1)),
    ]


def _myers(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pairs along a shortest edit script; none where it is longer than `MAX_EDITS`."""
    reached = {1: 0}  # how far into a each diagonal i - j leads
    steps: list[dict[int, int]] = []
    for edits in range(min(MAX_EDITS, len(a) + len(b)) + 1):
        steps.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1]
            )
            i = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            j = i - diagonal
            while i < len(a) and j < len(b) and a[i] == b[j]:
                i, j = i + 1, j + 1
            reached[diagonal] = i
            if i >= len(a) and j >= len(b):
                return _along(steps, len(a), len(b))
    return []


def _along(steps: list[dict[int, int]], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    for edits in range(len(steps) - 1, -1, -1):
        reached, diagonal = steps[edits], i - j
        down = diagonal == -edits or (
            diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1]
        )
        before = diagonal + 1 if down else diagonal - 1
        begin = reached[before] + (not down) if edits else 0
        while i > begin:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        i, j = reached[before], reached[before] - before
    return pairs[::-1]
