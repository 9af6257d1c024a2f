"""Tokens drawn by the rule of exact/1."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torchnotary import _libtorch  # noqa: E402
from torchnotary.errors import NotaryError, NotExact  # noqa: E402
from torchnotary.exact import exact_scope, sample  # noqa: E402

if _libtorch.available() is None:
    pytest.skip("_torch is not built for this torch", allow_module_level=True)

# Random123's kat_vectors, "philox4x32 10": counter, key, first word of the result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), 0x6627E8D5),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, 0x408F276D),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), 0xD16CFE09),
]


@pytest.mark.parametrize(("counter", "key", "word"), KNOWN_ANSWERS)
def test_the_uniform_number_is_the_first_word_of_philox(counter, key, word):
    """Two tokens that part [0, 1) on either side of (word + 1/2) / 2^32, 2^-20 away from it."""
    u = (word + 0.5) / 2**32
    seed = key[0] | key[1] << 32
    position, sequence = counter[0] | counter[1] << 32, counter[2] | counter[3] << 32
    for edge, token in ((u + 2**-20, 0), (u - 2**-20, 1)):
        parts = torch.tensor([edge, 1 - edge])
        assert sample(parts, seed, sequence, position) == token


def philox(seed: int, position: int, sequence: int) -> int:
    """Philox4x32-10 as its paper writes it."""
    low, words = (1 << 32) - 1, [position, position >> 32, sequence, sequence >> 32]
    c, k = [w & ((1 << 32) - 1) for w in words], [seed & low, seed >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & low, p0 >> 32 ^ c[3] ^ k[1], p0 & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_draws_follow_the_sums_in_ascending_order_whatever_the_strides(dtype):
    torch.manual_seed(0)
    table = torch.rand(2 * 311, 3).to(dtype)[::2]
    for position in range(40):
        column = table[:, position % 3]
        sums, total = [], 0.0
        for value in column.tolist():  # binary64, in order
            total += value
            sums.append(total)
        drawn = (philox(5, position, 9) + 0.5) * 2.0**-32 * total
        expected = next(i for i, each in enumerate(sums) if each > drawn)
        assert sample(column, 5, 9, position) == expected


def test_the_scope_of_the_profile_changes_no_draw():
    probabilities = torch.full((1000,), 1e-3)
    outside = [sample(probabilities, 1, 2, position) for position in range(20)]
    with exact_scope():
        assert [sample(probabilities, 1, 2, position) for position in range(20)] == outside
    assert len(set(outside)) > 10


@pytest.mark.parametrize(
    "probabilities",
    [
        torch.ones(2, 3),
        torch.ones(3, dtype=torch.float64),
        torch.ones(3, dtype=torch.int64),
        torch.ones(3, device="meta"),
        torch.ones(3).to_sparse(),
        torch.complex(torch.zeros(3), torch.ones(3)).conj().imag,
        [0.5, 0.5],
    ],
)
def test_what_is_no_row_of_probabilities_is_refused(probabilities):
    with pytest.raises(NotExact, match="softmax the logits"):
        sample(probabilities, 0, 0, 0)


@pytest.mark.parametrize(
    "probabilities", [torch.ones(0), torch.zeros(4), torch.tensor([0.5, float("nan")])]
)
def test_nothing_is_drawn_from_no_probabilities(probabilities):
    with pytest.raises(NotaryError, match="no token can be drawn"):
        sample(probabilities, 0, 0, 0)


@pytest.mark.parametrize("name", ["seed", "sequence", "position"])
@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_numbers_out_of_range_are_refused_by_name(name, number):
    numbers = {"seed": 0, "sequence": 0, "position": 0, name: number}
    with pytest.raises(NotaryError, match=name):
        sample(torch.ones(2), **numbers)
