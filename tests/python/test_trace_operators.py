"""Traces say what operators read and made at that moment: in place, through views, into out
arguments, out of nothing, at random, under vmap; and what cannot be looked into is one line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchnotary.statement.trace import trace_lines
from traced_calls import Call, Witness, digest, traced


def in_place(x: torch.Tensor) -> torch.Tensor:
    sums = torch.zeros(3, 4)
    sums.add_(x)
    sums.mul_(x).sub_(1)
    return sums.exp_()


def through_views(x: torch.Tensor) -> torch.Tensor:
    sums = x.clone()
    before = sums + 1
    sums[1].mul_(2)
    after = sums + 1
    sums.t()[2].fill_(7)
    column = sums.as_strided((3,), (4,), 1)
    sums.copy_(before)
    return after + sums + column.sum()


def into_outputs(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty(3, 4)
    torch.add(x, 1, out=out)
    torch.mul(x, out, out=out)
    values, places = torch.empty(3, 2), torch.empty(3, 2, dtype=torch.int64)
    torch.topk(out, 2, out=(values, places))
    return values * places


def several_outputs(x: torch.Tensor) -> torch.Tensor:
    values, places = x.max(1)
    low, high = (x + 1).split(2, 1)
    high.neg_()
    first, *_ = x.unbind(0)
    return (low + high).sum(1) + values * places + first.sum()


def out_of_nothing(x: torch.Tensor) -> torch.Tensor:
    made = torch.empty_like(x)
    made.fill_(2)
    steps = torch.arange(4.0) + torch.full((4,), 0.5)
    steps.index_put_((torch.arange(1, 3),), torch.ones(2))
    return x * made + steps + torch.eye(3, 4)


def at_random(x: torch.Tensor) -> torch.Tensor:
    noise = torch.rand(3, 4) + torch.empty(3, 4).normal_() + torch.randn(4)
    kept = torch.empty(3, 4).bernoulli_(0.5)
    return (x + noise)[:, torch.randperm(4)] * kept


FUNCTIONS = [in_place, through_views, into_outputs, several_outputs, out_of_nothing, at_random]
CONTEXTS = {"inference_mode": torch.inference_mode, "no_grad": torch.no_grad}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_values_are_those_of_the_moment(tmp_path, function, context):
    """None of these operators is composite, so that what lies below sees the same ones."""
    with CONTEXTS[context]():
        x = torch.arange(12.0).reshape(3, 4) / 8
        torch.manual_seed(5)
        with Witness(keep=True) as witness:
            plain = function(x)
        torch.manual_seed(5)
        call = traced(tmp_path, nn.Identity(), {"x": x}, function)
    call.by_digest.update(witness.copies)
    assert digest(call.result) == digest(plain)
    assert [line["operator"] for line in call.lines] == [name for name, _, _ in witness.seen]
    for number, (name, received, made) in enumerate(witness.seen):
        assert sorted(values(call, number, made=False)) == sorted(received), (
            name,
            call.lines[number],
        )
        assert values(call, number, made=True) == made, (name, call.lines[number])


def values(call: Call, number: int, *, made: bool) -> list[str]:
    """Digests of the tensors a line made or received: of a view, its own and not its base's."""
    return [
        digest(call.value(item, unsalted)) if "view" in item else unsalted
        for item, unsalted, is_output in call.tensors(number)
        if is_output == made
    ]


def test_memory_that_nobody_wrote_is_not_committed_to(tmp_path):
    call = traced(tmp_path, nn.Identity(), {}, lambda: torch.empty(3, 4).fill_(1))
    (empty,), (filled,) = (line["outputs"] for line in call.lines)
    assert empty["uninitialized"] is True and "commitment" not in empty
    assert call.lines[1]["args"]["self"]["uninitialized"] is True
    assert "uninitialized" not in filled and call.digests[1][-1] == digest(torch.ones(3, 4))


def test_views_of_what_the_trace_knows_no_origin_of_are_hashed_themselves(tmp_path):
    constant = [torch.arange(20.0).reshape(5, 4)]
    call = traced(
        tmp_path, nn.Identity(), {"x": torch.ones(3, 4)}, lambda x: x @ constant[0].t()[:, 1:3]
    )
    trace_lines(call.lines)
    assert [line["operator"] for line in call.lines][-1] == "aten::matmul"
    assert "view" not in repr(call.lines)
    assert call.digests[0][-1] == digest(constant[0].t())
    assert call.digests[-1][0] == digest(constant[0].t()[:, 1:3])


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_running_statistics_that_a_norm_updates_are_what_they_are_at_that_moment(
    tmp_path, context, norm
):
    with CONTEXTS[context]():
        x = torch.arange(24.0).reshape(2, 3, 4)
        model, twin = (norm(3, affine=False, track_running_stats=True) for _ in range(2))
        twin(x)
        call = traced(tmp_path, model, {"x": x}, lambda x: (model(x), model(x)))
    first, second = (i for i, line in enumerate(call.lines) if "norm" in line["operator"])
    assert call.lines[second]["args"]["running_mean"]["from"]["line"] == first
    assert digest(twin.running_mean) in call.digests[first]
    assert digest(twin.running_mean) in call.digests[second]
    assert digest(twin.running_var) in call.digests[second]


def zeros_without_memory(x):
    return torch._efficientzerotensor(3, 4) + x


def functionalized(x):
    return torch.func.functionalize(lambda y: y.clone().add_(1).view(-1) * 2)(x)


def nested(x):
    return torch.nested.nested_tensor([x, x[:2]]).relu().to_padded_tensor(0.0)


def jagged(x):
    return torch.nested.nested_tensor([x, x[:2]], layout=torch.jagged).sin().to_padded_tensor(0.0)


def second_derivatives(x):
    return torch.func.hessian(lambda y: (y.sin() * y).sum())(x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "function", [zeros_without_memory, functionalized, nested, jagged, second_derivatives]
)
def test_tensors_without_memory_or_shape_of_their_own_are_unbound(tmp_path, function):
    x = torch.arange(12.0).reshape(3, 4)
    call = traced(tmp_path, nn.Identity(), {"x": x}, function)
    assert digest(call.result) == digest(function(x))
    assert len(trace_lines(call.lines)) == len(call.lines) > 1
    assert "unbound" in repr(call.lines)


def test_an_operator_that_raises_is_a_line_without_outputs(tmp_path):
    def score(x):
        try:
            return x @ x
        except RuntimeError:
            return x.neg()

    x = torch.ones(2, 3)
    call = traced(tmp_path, nn.Identity(), {"x": x}, score)
    assert [(line["operator"], line["outputs"] is None) for line in call.lines] == [
        ("aten::matmul", True),
        ("aten::neg", False),
    ]
    assert call.digests == [[digest(x)] * 2, [digest(x), digest(-x)]]


def test_gradients_are_those_of_the_untraced_call(tmp_path, net):
    x = torch.linspace(-1, 1, 24).reshape(3, 8)
    net(x).square().sum().backward()
    plain = [digest(parameter.grad) for parameter in net.parameters()]
    net.zero_grad()
    traced(tmp_path, net, {"input": x}).result.square().sum().backward()
    assert [digest(parameter.grad) for parameter in net.parameters()] == plain


def test_under_vmap_the_tensors_below_are_committed_to(tmp_path, net):
    x = torch.linspace(-1, 1, 40).reshape(5, 8)
    with torch.inference_mode():
        call = traced(tmp_path, net, {"x": x}, lambda x: torch.func.vmap(net)(x))
    assert call.operators() == [
        ("aten::linear", "0"),
        ("aten::layer_norm", "1"),
        ("aten::linear", "2"),
    ]
    given, made = call.lines[0]["args"]["input"], call.lines[2]["outputs"][0]
    assert given["batched"] == made["batched"] == [{"dim": 0, "level": 1}]
    assert (given["shape"], made["shape"]) == ([5, 8], [5, 4])
    assert digest(x) in call.digests[0] and digest(call.result) == call.digests[2][-1]


class Outer(nn.Module):
    """A module that cannot be looked into between two that can."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.before, self.inner, self.after = nn.Linear(8, 8), inner, nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.inner(self.before(x)))


HIDING = {
    "torch.compile": lambda net: torch.compile(net, backend="eager"),
    "torch.jit": torch.jit.script,
}


@pytest.mark.parametrize("by", HIDING)
def test_what_cannot_be_looked_into_is_traced_at_its_outer_call(tmp_path, net, by):
    model, passed = Outer(HIDING[by](net)).eval(), []
    model.before.register_forward_hook(lambda *call: passed.append(call[-1]))
    model.after.register_forward_pre_hook(lambda _, args: passed.append(args[0]))
    with torch.inference_mode():
        call = traced(tmp_path, model, {"x": torch.linspace(-1, 1, 16).reshape(2, 8)})
    assert [line["type"] for line in call.lines] == ["operator", "call", "operator"]
    line = call.lines[1]
    assert (line["by"], line["module"]) == (by, "inner")
    assert call.digests[1] == [digest(value) for value in passed]
    assert call.facts["opaque"] == ["inner"]


def test_a_model_compiled_as_a_whole_is_one_line(tmp_path, net):
    x = torch.linspace(-1, 1, 16).reshape(2, 8)
    with torch.inference_mode():
        call = traced(tmp_path, torch.compile(net), {"input": x})
    (line,) = call.lines
    assert (line["by"], line["module"]) == ("torch.compile", "")
    assert call.digests == [[digest(x), digest(call.result)]]
