"""What is quick on the caller's path gives what the slow and obvious way gives."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch
from torch import nn

from torchnotary import _core, _libtorch, leaves
from torchnotary.capture.target import Binder, bind
from torchnotary.leaves import SMALL_BYTES, flatten_output


def given_back():
    tensor = torch.ones(4)
    tensor.untyped_storage().resize_(0)
    return tensor


TENSORS = {
    "rank 0": lambda: torch.tensor(2.5),
    "rank 1": lambda: torch.arange(5),
    "rank 2": lambda: torch.randn(4, 64),
    "one row": lambda: torch.randn(1, 3),
    "no rows": lambda: torch.randn(0, 3),
    "empty rows": lambda: torch.randn(3, 0),
    "more rows than digests": lambda: torch.ones(4097, 2, dtype=torch.uint8),
    "rows in even runs": lambda: torch.ones(8192, 2, dtype=torch.uint8),
    "as large as small can be": lambda: torch.ones(2, SMALL_BYTES // 8),
    "larger": lambda: torch.ones(2, SMALL_BYTES // 8 + 1),
    "transposed": lambda: torch.randn(3, 5).t(),
    "at an offset": lambda: torch.randn(9)[3:7],
    "expanded": lambda: torch.randn(3, 1).expand(3, 4),
    "conjugate": lambda: torch.randn(2, 3, dtype=torch.complex64).conj(),
    "negative": lambda: torch._neg_view(torch.randn(2, 3)),
    "bool": lambda: torch.tensor([[True, False]]),
    "bfloat16": lambda: torch.randn(2, 3).bfloat16(),
    "float8": lambda: torch.randn(2, 3).to(torch.float8_e4m3fn),
    "parameter": lambda: nn.Parameter(torch.randn(2, 3)),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.randn(2, 3), 0.1, 0, torch.qint8),
    "zero tensor": lambda: torch._efficientzerotensor(2, 3),
    "meta": lambda: torch.ones(3, device="meta"),
    "storage given back": given_back,
    "a buffer": lambda: nn.Buffer(torch.ones(3)),
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS.keys())
def test_a_small_tensor_hashed_in_one_step_is_the_same_leaf(make, monkeypatch):
    tensor = make()
    _libtorch.load()
    (quick,) = flatten_output(tensor)
    monkeypatch.setattr(_libtorch, "available", lambda: None)
    (slow,) = flatten_output(tensor)
    for name in leaves.Leaf.__slots__:
        assert getattr(quick, name) == getattr(slow, name), name


def test_a_tensor_inside_a_transform_is_no_memory_to_read():
    found = []
    _libtorch.load()
    torch.vmap(lambda x: (found.append(flatten_output(x)[0].kind), x)[1])(torch.ones(2, 3))
    assert found == ["unbound"]


SIGNATURES = [
    lambda: None,
    lambda a: None,
    lambda a, b=2: None,
    lambda a, *, k: None,
    lambda a, *, k=3, m=4: None,
    lambda a, b=2, *rest, k=5: None,
    lambda a, **more: None,
    lambda a, b=2, *rest, k=5, **more: None,
    eval("lambda a, /, b=2: None"),
    eval("lambda a, /, **more: None"),
]
KEYWORDS = [{}, {"a": 7}, {"b": 8}, {"k": 9}, {"m": 1}, {"x": 1}, {"b": 8, "k": 9}, {"not a": 1}]


def outcome(call):
    try:
        return list(call().items())
    except TypeError as error:
        return str(error)


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: str(inspect.signature(f)))
def test_arguments_are_bound_as_by_the_signature_or_refused_as_it_does(function):
    signature = inspect.signature(function)
    binder = Binder(signature)
    for count, keywords in itertools.product(range(4), KEYWORDS):
        args = tuple(range(count))
        expected = outcome(lambda args=args, kw=keywords: bind(signature, args, kw))
        assert outcome(lambda args=args, kw=keywords: binder.bind(args, kw)) == expected


def test_a_memory_snapshot_holds_until_the_memory_of_one_object_changes():
    import random

    first, second = random.Random(1), random.Random(1)
    snapshot = _core.MemorySnapshot([first, second])
    assert snapshot.holds()
    state = second.getstate()
    second.random()
    assert not snapshot.holds()
    second.setstate(state)
    assert snapshot.holds()


def test_a_model_put_in_the_place_of_another_that_lives_on_is_the_one_recorded(notary):
    first, second = nn.Linear(2, 2).eval(), nn.Linear(2, 2).eval()
    model = first

    @notary.record
    def run(x):
        return model(x)

    def weights(of):
        nonlocal model
        model = of
        run(torch.ones(2))
        return notary.last.predicate["model"]["weights"]

    once, other, again = weights(first), weights(second), weights(first)
    assert once == again != other
