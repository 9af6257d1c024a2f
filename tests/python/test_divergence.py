"""The culprit between two traces, over changes planted in a small program of two layers."""

from __future__ import annotations

import copy

import pytest
import torch

from torchnotary.replay.divergence import compare_traces
from torchnotary.replay.traces import Trace
from torchnotary.statement.lines import parse
from torchnotary.statement.trace import trace_lines
from trace_reference import ReferenceTrace, number, operator, tensor

X = torch.linspace(-1, 1, 6).reshape(2, 3)
F = torch.nn.functional


def program() -> list[dict]:
    """Steps of two layers: operator, module, what to compute, held tensors, plain arguments."""
    steps = []
    for layer in range(2):
        torch.manual_seed(layer)
        steps += [
            {
                "op": "aten::linear", "module": f"{layer}.dense",
                "run": lambda x, weight, bias=None: F.linear(x, weight, bias),
                "held": {"weight": torch.randn(3, 3), "bias": torch.randn(3)},
            },
            {"op": "aten::gelu", "module": f"{layer}.act", "run": lambda x: F.gelu(x)},
            {
                "op": "aten::layer_norm", "module": f"{layer}.norm",
                "run": lambda x, weight, eps: F.layer_norm(x, (3,), weight, None, eps),
                "held": {"weight": torch.randn(3)}, "plain": {"eps": 1e-5},
            },
            {
                "op": "aten::mul.Tensor", "module": f"{layer}",
                "run": lambda x, other: x * other, "constants": {"other": torch.tensor(2.0)},
            },
        ]  # fmt: skip
    return steps


def trace(steps, x=X, opened=None) -> Trace:
    """The trace of the steps, each on what the one before it gave."""
    lines, origin = [], {"input": "x"}
    for step in steps:
        held, plain = step.get("held", {}), step.get("plain", {})
        constants = step.get("constants", {})
        y = step["run"](x, **held, **plain, **constants)
        args = {"self": tensor(x, origin)}
        args |= {
            name: tensor(value, {"parameter": f"{step['module']}.{name}"})
            for name, value in held.items()
        }
        args |= {name: tensor(value) for name, value in constants.items()}
        args |= {name: number(value) for name, value in plain.items()}
        lines.append(operator(step["op"], step["module"], args, [tensor(y)]))
        x, origin = y, {"line": len(lines) - 1, "output": 0}
    return of_lines(lines, opened)


def of_lines(lines, opened=None) -> Trace:
    reference = ReferenceTrace(lines)
    digests = [[digest for digest, _ in slots] for slots in reference.slots]
    if opened is not None:
        digests = [held if i in opened else [] for i, held in enumerate(digests)]
    return Trace(trace_lines(map(parse, reference.lines)), digests)


def planted(change) -> list[dict]:
    steps = copy.deepcopy(program())
    change(steps)
    return steps


def nudged(value: torch.Tensor) -> torch.Tensor:
    changed = value.clone()
    changed.view(-1)[0] += 1
    return changed


def test_equal_traces_have_no_culprit():
    found = compare_traces(trace(program()), trace(program()))
    assert found.same and found.first is None and found.pairs == [] and found.unknown == 0


CHANGES = {
    "weight": (
        lambda s: s[4]["held"].update(weight=nudged(s[4]["held"]["weight"])),
        (4, "1.dense", "aten::linear", "weight"),
        "weight differs (parameter 1.dense.weight)",
    ),
    "bias": (
        lambda s: s[0]["held"].update(bias=nudged(s[0]["held"]["bias"])),
        (0, "0.dense", "aten::linear", "bias"),
        "bias differs (parameter 0.dense.bias)",
    ),
    "dropped bias": (
        lambda s: s[4]["held"].pop("bias"),
        (4, "1.dense", "aten::linear", "bias"),
        "bias parameter 1.dense.bias → absent",
    ),
    "eps": (
        lambda s: s[2].update(plain={"eps": 0.1}),
        (2, "0.norm", "aten::layer_norm", "eps"),
        "eps 1e-05 → 0.1",
    ),
    "activation": (
        lambda s: s[5].update(op="aten::relu", run=torch.relu),
        (5, "1.act", "aten::gelu", None),
        "aten::gelu → aten::relu",
    ),
    "activation as a function": (
        lambda s: s[5].update(op="aten::relu", run=torch.relu, module="1"),
        (5, "1.act", "aten::gelu", None),
        "aten::gelu → aten::relu",
    ),
    "constant": (
        lambda s: s[3].update(constants={"other": torch.tensor(3.0)}),
        (3, "0", "aten::mul.Tensor", "other"),
        "other differs (a constant)",
    ),
    "dtype": (
        lambda s: s[7].update(constants={"other": torch.tensor(2.0, dtype=torch.float64)}),
        (7, "1", "aten::mul.Tensor", "other"),
        "other differs (a constant: float32 [] → float64 []); its output is the same",
    ),
    "operator left out": (
        lambda s: s.pop(5),
        (5, "1.act", "aten::gelu", None),
        "aten::gelu → absent",
    ),
    "operator more": (
        lambda s: s.insert(6, {"op": "aten::sin", "module": "1", "run": torch.sin}),
        (None, "1", "aten::sin", None),
        "absent → aten::sin",
    ),
    "other rounding": (
        lambda s: s[4].update(run=lambda x, weight, bias: F.linear(x, weight, bias) + 1),
        (4, "1.dense", "aten::linear", None),
        "another output from the same arguments",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_planted_change_is_located_at_its_operator_and_nowhere_else(name):
    change, (line, module, op, argument), what = CHANGES[name]
    found = compare_traces(trace(program()), trace(planted(change)))
    first = found.first
    assert (first.line, first.module, first.operator, first.argument) == (
        line, module, op, argument,
    )  # fmt: skip
    assert first.what == what
    assert found.more == 0 and not found.same
    back = compare_traces(trace(planted(change)), trace(program()))
    assert back.more == 0 and back.first.other_line == line


def test_of_several_changes_the_first_is_named_and_the_others_are_counted():
    def change(steps):
        steps[6].update(plain={"eps": 0.1})
        steps[4]["held"].update(weight=nudged(steps[4]["held"]["weight"]))
        steps[2].update(plain={"eps": 0.1})

    found = compare_traces(trace(program()), trace(planted(change)))
    assert found.first.module == "0.norm" and found.more == 2
    # Six lines give other outputs, but three of them only because of what they received.
    assert found.pairs == [(i, i) for i in range(2, 8)]


def test_a_parameter_that_several_operators_take_is_one_change():
    def lines(weight):
        y = X @ weight
        held = {"weight": tensor(weight, {"parameter": "tied"})}
        first = operator("aten::mm", "a", {"self": tensor(X, {"input": "x"}), **held}, [tensor(y)])
        again = operator("aten::mm", "b", {"self": tensor(X, {"input": "x"}), **held}, [tensor(y)])
        return of_lines([first, again])

    found = compare_traces(lines(torch.eye(3)), lines(torch.ones(3, 3)))
    assert found.first.module == "a" and found.more == 0


def test_a_change_that_leaves_the_output_as_it_was_is_found_and_says_so():
    ids, table = torch.tensor([1, 2]), torch.randn(5, 2)
    changed = nudged(table)

    def lines(weight):
        args = {
            "indices": tensor(ids, {"input": "ids"}),
            "weight": tensor(weight, {"parameter": "embedding.weight"}),
        }
        return of_lines([operator("aten::embedding", "embedding", args, [tensor(weight[ids])])])

    found = compare_traces(lines(table), lines(changed))
    assert found.first.what == (
        "weight differs (parameter embedding.weight); its output is the same"
    )
    assert found.pairs == [] and not found.same


def test_other_inputs_have_no_culprit_but_the_weights_that_differ_besides():
    found = compare_traces(trace(program()), trace(program(), X + 1))
    assert found.first is None and not found.same and len(found.pairs) == 8
    change = CHANGES["weight"][0]
    found = compare_traces(trace(program()), trace(planted(change), X + 1))
    assert found.first.module == "1.dense" and found.first.argument == "weight"


def test_an_argument_that_follows_from_a_number_read_out_of_a_tensor_is_a_victim():
    def lines(scale):
        x = X * scale
        return of_lines(
            [
                operator("aten::mul", "a", {"self": tensor(X, {"input": "x"}), "by": number(scale)},
                         [tensor(x)]),
                operator("aten::item", "b", {"self": tensor(x, {"line": 0, "output": 0})},
                         [{"commitment": bytes([int(scale)]) * 32, "kind": "float"}]),
                operator("aten::add", "c",
                         {"self": tensor(x, {"line": 0, "output": 0}), "other": number(scale)},
                         [tensor(x + scale)]),
            ]
        )  # fmt: skip

    found = compare_traces(lines(1.0), lines(2.0))
    assert found.first.module == "a" and found.more == 0


def test_values_nobody_can_compare_are_counted_and_accuse_nobody():
    changed = planted(CHANGES["eps"][0])
    found = compare_traces(trace(program()), trace(changed, opened={0, 1, 3, 4, 5, 6, 7}))
    assert found.first.module == "0.norm" and found.unknown > 0
    found = compare_traces(trace(program(), opened=()), trace(program()))
    assert found.first is None and found.same and found.unknown > 0

    def unbound(layout):
        args = {"self": {"dtype": "float32", "shape": [2], "unbound": layout}}
        return of_lines([operator("aten::relu", "", args, [])])

    found = compare_traces(unbound("sparse_coo"), unbound("sparse_coo"))
    assert found.same and found.unknown == 1
    assert compare_traces(unbound("sparse_coo"), unbound("nested")).first is not None


def test_memory_that_nobody_wrote_does_not_differ():
    blank = {"dtype": "float32", "shape": [2, 3], "uninitialized": True}

    def lines(scale):
        y = X * scale
        return of_lines(
            [
                operator("aten::empty", "", {"size": [2, 3]}, [blank]),
                operator(
                    "aten::mul.out",
                    "",
                    {
                        "other": number(scale),
                        "out": {**blank, "from": {"line": 0, "output": 0}},
                        "self": tensor(X, {"input": "x"}),
                    },
                    [tensor(y, argument="out")],
                ),
            ]
        )

    assert compare_traces(lines(1.0), lines(1.0)).same
    assert compare_traces(lines(1.0), lines(2.0)).first.argument == "other"


def test_how_a_line_ended_is_compared():
    def lines(outputs):
        return of_lines([operator("aten::mm", "a", {"self": tensor(X, {"input": "x"})}, outputs)])

    found = compare_traces(lines([tensor(X)]), lines(None))
    assert found.first.what == "returned → raised"
    assert compare_traces(lines(None), lines([])).first.what == "raised → returned"
    assert compare_traces(lines(None), lines(None)).same


def test_modules_are_compared_by_their_outputs_and_one_is_the_first():
    def lines(scale):
        leaves = [
            {**tensor(X * s), "kind": "tensor", "path": "output"} for s in (1.0, scale, scale + 1)
        ]
        return of_lines(
            [
                {"class": "pkg.Layer", "module": f"layer.{i}", "outputs": [leaf], "type": "module"}
                for i, leaf in enumerate(leaves)
            ]
        )

    found = compare_traces(lines(1.0), lines(2.0))
    assert (found.first.module, found.first.operator) == ("layer.1", "pkg.Layer")
    assert found.first.what == "another output" and found.more == 0


def test_a_call_traced_from_outside_is_a_victim_of_its_arguments():
    def lines(x, y):
        call = {
            "args": [{**tensor(x), "kind": "tensor", "path": "x"}],
            "by": "torch.compile",
            "class": "pkg.Net",
            "module": "",
            "outputs": [{**tensor(y), "kind": "tensor", "path": "output"}],
            "type": "call",
        }
        return of_lines([call])

    assert compare_traces(lines(X, X), lines(X, X + 1)).first.operator == "pkg.Net"
    assert compare_traces(lines(X, X), lines(X + 1, X + 1)).first is None


def test_modules_under_another_name_are_still_compared_line_by_line():
    renamed = [{**step, "module": f"wrapped.{step['module']}"} for step in program()]
    assert compare_traces(trace(program()), trace(renamed)).first is None
    renamed[2]["plain"] = {"eps": 0.5}
    found = compare_traces(trace(program()), trace(renamed))
    assert found.first.argument == "eps" and found.first.module == "0.norm"


def test_operators_that_run_only_because_of_what_came_before_are_victims():
    """After a culprit the program takes another branch, with operators of its own."""

    def branch(steps):
        steps[2].update(plain={"eps": 0.1})
        steps[4:] = [{"op": "aten::sin", "module": "else", "run": torch.sin}]

    for a, b in ((program(), planted(branch)), (planted(branch), program())):
        found = compare_traces(trace(a), trace(b))
        assert found.first.argument == "eps" and found.more == 0


def test_an_operator_in_the_place_of_another_is_told_from_one_left_out_beside_it():
    def change(steps):
        steps[5].update(op="aten::relu", run=torch.relu)
        steps.pop(4)

    found = compare_traces(trace(program()), trace(planted(change)))
    assert found.first.module == "1.dense" and found.first.what == "aten::linear → absent"


def test_a_view_recorded_in_two_ways_accuses_nobody():
    """What an operator more has hashed changes how later views are written down."""
    y = X * 2
    made = {"line": 0, "output": 0}
    double = operator("aten::mul", "a", {"self": tensor(X, {"input": "x"})}, [tensor(y)])
    peek = operator("aten::sum", "b", {"self": tensor(y[1], made)}, [tensor(y[1].sum())])

    def negate(row):
        return operator("aten::neg", "c", {"self": row}, [tensor(-y[1])])

    of_whole = tensor(y, made, view={"offset": 3, "strides": [1]}) | {"shape": [3]}
    a, b = (
        of_lines([double, negate(of_whole)]),
        of_lines([double, peek, negate(tensor(y[1], made))]),
    )
    for found in (compare_traces(a, b), compare_traces(b, a)):
        assert found.first.operator == "aten::sum" and found.more == 0

    other = operator("aten::neg", "c", {"self": tensor(y[1], made)}, [tensor(1 - y[1])])
    assert compare_traces(a, of_lines([double, peek, other])).more == 1

    changed = operator("aten::mul", "a", {"self": tensor(X, {"input": "x"})}, [tensor(y + 1)])
    after = operator("aten::neg", "c", {"self": tensor(y[1] + 1, made)}, [tensor(-y[1] - 1)])
    found = compare_traces(a, of_lines([changed, after]))
    assert found.first.operator == "aten::mul" and found.more == 0
