"""Whether every record is found by its id: the log's index of ids against the ids themselves.

The index is in another order than the records, so sums are compared: of both halves of every
prefix, each times a number that follows from its record's by a factor drawn anew for each check.
"""

from __future__ import annotations

import secrets
import sys
from array import array
from operator import mul

from .store import BUCKET_BITS, LogReader

# Weights repeat after so many records. A sum over a bucket stays below 2^62: 32 bits of prefix,
# 14 of weight, 15 of records.
_PERIOD = 1 << 14
_SUMS = (
    "SELECT bucket, min(number), max(number), count(*),"
    " sum((prefix >> 32 & 4294967295) * ((number * ?1 & 16383) + 1)),"
    " sum((prefix & 4294967295) * ((number * ?1 & 16383) + 1)) FROM ids GROUP BY bucket"
)


class IdSums:
    """What the index should add up to, of the ids that were met."""

    def __init__(self) -> None:
        self._factor = secrets.randbelow(_PERIOD) | 1
        weights = [(number * self._factor % _PERIOD) + 1 for number in range(_PERIOD)]
        self._weights = array("I", weights + weights)
        self._count = self._high = self._low = 0

    def add(self, first: int, record_ids: bytes) -> None:
        """Takes the ids, 32 bytes each, of at most 16,384 records from number ``first`` on."""
        words = array("I", record_ids)
        if sys.byteorder == "little":
            words.byteswap()
        weights = self._weights[first % _PERIOD :]
        self._count += len(words) // 8
        self._high += sum(map(mul, words[0::8], weights))
        self._low += sum(map(mul, words[1::8], weights))

    def agree(self, log: LogReader) -> bool:
        """Whether the log's index holds these ids, each in its bucket, and no others."""
        count = high = low = 0
        for bucket, first, last, found, of_high, of_low in log.query(_SUMS, self._factor):
            if not (type(first) is type(last) is int):
                return False
            if not first >> BUCKET_BITS == last >> BUCKET_BITS == bucket:
                return False
            count, high, low = count + found, high + of_high, low + of_low
        return (count, high, low) == (self._count, self._high, self._low)
