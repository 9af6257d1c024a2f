"""What errors say of the values that were compared."""

from __future__ import annotations

import pickle

import pytest

from torchnotary.errors import NotaryError


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "it differs. Next: look"),
        ({"expected": 1, "actual": 2}, "it differs (expected 1, got 2). Next: look"),
        ({"expected": 0}, "it differs (expected 0). Next: look"),
        ({"actual": ""}, "it differs (got ). Next: look"),
    ],
)
def test_a_value_that_there_is_not_is_not_spoken_of(values, said):
    error = NotaryError("it differs", **values, next_step="look")
    assert str(error) == said
    assert str(pickle.loads(pickle.dumps(error))) == said
