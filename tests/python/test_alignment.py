"""The longest common subsequence, against the slow and obvious way to find its length."""

from __future__ import annotations

import functools
import random

from torchnotary.replay.alignment import MAX_EDITS, matches


def longest(a, b) -> int:
    @functools.cache
    def rest(i, j):
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + rest(i + 1, j + 1)
        return max(rest(i + 1, j), rest(i, j + 1))

    return rest(0, 0)


def test_pairs_are_equal_ascending_and_as_many_as_can_be():
    chance = random.Random(1)
    for _ in range(2000):
        letters = chance.choice("1236")
        a, b = (
            [chance.randrange(int(letters)) for _ in range(chance.randrange(12))] for _ in range(2)
        )
        found = matches(a, b)
        assert all(a[i] == b[j] for i, j in found)
        for ascending in ([i for i, _ in found], [j for _, j in found]):
            assert ascending == sorted(set(ascending))
        assert len(found) == longest(tuple(a), tuple(b)), (a, b)


def test_one_element_more_shifts_the_rest_and_loses_none():
    long = list(range(5000))
    assert matches(long, [*long[:2500], "more", *long[2500:]]) == [
        *((i, i) for i in range(2500)),
        *((i, i + 1) for i in range(2500, 5000)),
    ]


def test_what_has_too_little_in_common_shares_its_ends_alone():
    a = ["begin", *range(MAX_EDITS), 7, *range(MAX_EDITS), "end"]
    b = ["begin", *range(-MAX_EDITS, 0), 7, *range(-MAX_EDITS, 0), "end"]
    assert matches(a, b) == [(0, 0), (len(a) - 1, len(b) - 1)]
