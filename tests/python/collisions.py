"""Pairs of tensors built to collide: digests are equal exactly where the contents are.

`python tests/python/collisions.py --pairs 100000` (`make collisions`) runs the campaign and prints
what it counted. Digests are compared in each pair and across the whole campaign.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from collision_composites import COMPOSITE_KINDS
from collision_items import Pair, Random
from collision_ordinary import ORDINARY_KINDS

KINDS: list[Callable[[Random], Pair]] = [*ORDINARY_KINDS, *COMPOSITE_KINDS]


@dataclass
class Campaign:
    """What was counted: pairs of equal and of different content by kind, contents in all, and the
    failures, each of which its kind, seed and number bring back."""

    equal: Counter
    different: Counter
    contents: int
    failures: list[str]


def run(pairs: int, seed: int = 0, kinds: Sequence[Callable] = KINDS) -> Campaign:
    """So many pairs, the kinds in turn."""
    result = Campaign(Counter(), Counter(), 0, [])
    content_of_digest: dict[str, bytes] = {}
    digest_of_content: dict[bytes, str] = {}
    for number in range(pairs):
        kind = kinds[number % len(kinds)]
        first, second = kind(np.random.default_rng([seed, number]))
        equal = first.content == second.content
        (result.equal if equal else result.different)[kind.__name__] += 1
        where = f"{kind.__name__}, seed {seed}, number {number}"
        if (first.digest == second.digest) != equal:
            said = "equal contents have other digests" if equal else "a collision"
            result.failures.append(f"{where}: {said}: {first} {second}")
        for one in (first, second):
            key = hashlib.sha256(repr(one.content).encode()).digest()
            if content_of_digest.setdefault(one.digest, key) != key:
                result.failures.append(f"{where}: collides with an earlier pair: {one}")
            if digest_of_content.setdefault(key, one.digest) != one.digest:
                result.failures.append(f"{where}: had another digest before: {one}")
    result.contents = len(digest_of_content)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # beta, prototype, deprecated: torch's layouts
    result = run(options.pairs, options.seed)
    print(f"{'pairs built to collide':<46}{'equal':>8}{'different':>11}")
    for kind in KINDS:
        name = kind.__name__
        print(f"{name.replace('_', ' '):<46}{result.equal[name]:>8}{result.different[name]:>11}")
    print(f"{'all':<46}{result.equal.total():>8}{result.different.total():>11}")
    print(f"{result.contents} contents, {len(result.failures)} failures")
    print("\n".join(result.failures[:10]), file=sys.stderr)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
