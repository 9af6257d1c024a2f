"""Section 11: Philox4x32-10 (Salmon et al. 2011), and the draw of a token."""

import numpy as np

LOW = 0xFFFFFFFF


def philox(counter, key):
    """The four words of a counter of four words under a key of two."""
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = (
            (b >> 32) ^ counter[1] ^ key[0],
            b & LOW,
            (a >> 32) ^ counter[3] ^ key[1],
            a & LOW,
        )
        key = ((key[0] + 0x9E3779B9) & LOW, (key[1] + 0xBB67AE85) & LOW)
    return counter


def uniform(seed, sequence, position) -> float:
    counter = (position & LOW, position >> 32, sequence & LOW, sequence >> 32)
    word = philox(counter, (seed & LOW, seed >> 32))[0]
    return (word + 0.5) * 2.0**-32


def token(probabilities, u: float) -> int:
    """Raises StopIteration where no token is drawn."""
    sums, total = [], np.float64(0)
    for each in np.asarray(probabilities, np.float64):
        total = total + each
        sums.append(total)
    return next(index for index, each in enumerate(sums) if each > u * total)
