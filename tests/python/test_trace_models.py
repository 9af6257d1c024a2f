"""Traces of real models say what ran: every operator, in its module, with what it read and made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy
import pytest
import torch
from torch import nn

from models import ResNet18, token_ids
from traced_calls import Call, Witness, digest, is_subsequence, profiled, traced


class Tagger(nn.Module):
    """Tokens (batch, length) to one of 5 tags each, through a bidirectional LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.lstm = nn.LSTM(16, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(48, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0]).log_softmax(-1)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return seeded(ResNet18)


@pytest.fixture(scope="module")
def lstm() -> nn.Module:
    return seeded(Tagger)


INPUTS = {
    "minilm": lambda: {"input_ids": token_ids(20_000, 2, 6)},
    "smollm2": lambda: {"input_ids": token_ids(40_000, 1, 16), "logits_to_keep": 1},
    "resnet": lambda: {"x": torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)},
    "lstm": lambda: {"tokens": torch.arange(21).reshape(3, 7)},
}
CONTEXTS = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "grad": torch.enable_grad,
    "bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
}


# SmolLM2 as it is served only: its copies of weights in other contexts are large.
CASES = [(m, c) for m in INPUTS for c in CONTEXTS if m != "smollm2" or c == "inference_mode"]
in_every_context = pytest.mark.parametrize(("name", "context"), CASES)


def outputs_of(result) -> list[torch.Tensor]:
    """The tensors of a model's output, caches aside."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [value for value in result.values() if isinstance(value, torch.Tensor)]


@contextlib.contextmanager
def within(name: str):
    """A context, without gradients unless they are asked for."""
    with torch.set_grad_enabled(name == "grad"), CONTEXTS[name]():
        yield


@in_every_context
def test_every_operator_is_a_line_with_its_module(tmp_path, request, name, context):
    model, inputs = request.getfixturevalue(name), INPUTS[name]()
    with within(context):
        expected = profiled(model, lambda: model(**inputs))
        assert traced(tmp_path, model, inputs, evidence="commitments").operators() == expected


@in_every_context
def test_commitments_are_those_of_what_operators_read_and_made(tmp_path, request, name, context):
    model, inputs = request.getfixturevalue(name), INPUTS[name]()
    with within(context):
        with Witness() as witness:
            plain = model(**inputs)
        call = traced(tmp_path, model, inputs)
    assert [digest(x) for x in outputs_of(call.result)] == [digest(x) for x in outputs_of(plain)]
    require_truth(call, witness)


def require_truth(call: Call, witness: Witness) -> None:
    """Every commitment is over a tensor that was read or made in the call, or over the one that it
    is a view of; first outputs come in the order in which they were made; and what is said to come
    from an operator, parameter, buffer or input has its values."""
    known, made_in_order = witness.known, witness.made
    made: dict[int, str] = {}
    for number in range(len(call.lines)):
        for item, unsalted, is_output in call.tensors(number):
            value = call.value(item, unsalted)
            assert (digest(value) if "view" in item else unsalted) in known, (number, item)
            if is_output and "from" not in item:
                made.setdefault(number, unsalted)
            if value is not None:
                require_source(call, item, unsalted, value)
    assert len(made) > len(call.lines) / 4
    assert is_subsequence(list(made.values()), made_in_order)


def require_source(call: Call, item: dict, unsalted: str, value: torch.Tensor) -> None:
    where = item.get("from", {})
    if "line" in where:
        source = call.kept.tensor(where["line"], where["output"])
        # An operator that wrote memory it did not make has no kept value.
        assert source is None or numpy.isin(flat(value), flat(source)).all(), item
    elif where:
        name = next(iter(where.items()))
        reshaped = "view" not in item and value.shape != call.named[name].shape
        whole = digest(value.view_as(call.named[name])) if reshaped else unsalted
        assert whole == call.named_digests[name], item


def flat(tensor: torch.Tensor) -> numpy.ndarray:
    return tensor.detach().reshape(-1).to(torch.float32).numpy()
