"""Recorded calls with traces, run again, compared with each other and handed on."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import threading

import pytest
import torch

import torchnotary
from torchnotary.cli import run
from torchnotary.errors import NotaryError
from torchnotary.replay.traces import trace_of
from torchnotary.statement import container
from torchnotary.statement.record import Record
from torchnotary.verifier.steps import verify

X = torch.linspace(-1, 1, 40).reshape(5, 8)
TINY = torch.finfo(torch.float32).eps


class Block(torch.nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.query = torch.nn.Linear(width, width)
        self.act = torch.nn.GELU()
        self.norm = torch.nn.LayerNorm(width)
        self.scale = 0.5

    def forward(self, x):
        q = self.query(x).reshape(1, 1, *x.shape)
        mixed = torch.nn.functional.scaled_dot_product_attention(q, q, q, scale=self.scale)
        return self.norm(x + self.act(mixed.reshape(x.shape)))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.ModuleList([Block(), Block(), Block()])
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        for block in self.layer:
            x = block(x)
        return self.head(x)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Net().eval().requires_grad_(False)


def tracing(tmp_path, level="operators", **options):
    return torchnotary.Notary(tmp_path / f"log-{level}", trace=level, **options)


def recorded(notary, model, x=X):
    """The record of one call of the model, attached for that call only."""
    notary.attach(model)
    model(x)
    notary.detach(model)
    return notary.last


def nudge(tensor):
    tensor.view(-1)[0] += 0.25


PLANTED = {
    "weight": (
        lambda m: nudge(m.layer[1].query.weight),
        ("layer.1.query", "aten::linear", "weight"),
        "weight differs (parameter layer.1.query.weight)",
    ),
    "eps": (
        lambda m: setattr(m.layer[2].norm, "eps", 0.5),
        ("layer.2.norm", "aten::layer_norm", "eps"),
        "eps 1e-05 → 0.5",
    ),
    "activation": (
        lambda m: setattr(m.layer[0], "act", torch.nn.ReLU()),
        ("layer.0.act", "aten::gelu", None),
        "aten::gelu → aten::relu",
    ),
    "attention scale": (
        lambda m: setattr(m.layer[1], "scale", 0.75),
        ("layer.1", "aten::scaled_dot_product_attention", "scale"),
        "scale 0.5 → 0.75",
    ),
    "dropped bias": (
        lambda m: setattr(m.head, "bias", None),
        ("head", "aten::linear", "bias"),
        "bias parameter head.bias → absent",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_change_is_located_at_its_operator_by_reproduce_and_by_diff(
    tmp_path, model, name
):
    change, (module, op, argument), what = PLANTED[name]
    notary = tracing(tmp_path)
    a = recorded(notary, model)
    assert torchnotary.reproduce(a, model, (X,)).outcome == "bitwise"
    changed = copy.deepcopy(model)
    change(changed)
    found = torchnotary.reproduce(a, changed, (X,))
    first = found.first_divergence
    assert found.outcome == "diverged"
    assert (first.module, first.operator, first.argument, first.more) == (module, op, argument, 0)
    assert str(first) == f"{module} ({op}): {what}"
    assert f"first    {first}" in str(found)
    compared = torchnotary.diff(a, recorded(notary, changed))
    assert str(compared.first_divergence) == str(first)
    assert "trace" in compared.differ and "inputs" in compared.same
    text = str(compared).split("\n")[0]
    assert text.endswith(f"; first at {module} ({op.removeprefix('aten::')}): {what}.")
    for document in (found.to_json(), compared.to_json()):
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert document["divergence"]["operator"] == op
        assert document["first_divergence"] == str(first)
    notary.close()


def test_records_of_one_call_have_equal_traces(tmp_path, model):
    notary = tracing(tmp_path)
    a, b = recorded(notary, model), recorded(notary, model)
    found = torchnotary.diff(a, b)
    assert found.exit_code == 0 and "trace" in found.same
    assert found.first_divergence is None and found.settings == []
    notary.close()


def test_other_bits_from_the_same_arguments_name_the_setting_that_differs(tmp_path, model):
    """As other threads, or another instruction set, may give: planted, since they need not."""
    library = torch.library.Library("torchnotary_tests", "FRAGMENT")
    library.define("wobble(Tensor x) -> Tensor")
    library.impl("wobble", lambda x: x * (1 + TINY * (torch.get_num_threads() - 1)), "CPU")

    class Wobble(torch.nn.Module):
        def forward(self, x):
            return torch.ops.torchnotary_tests.wobble(x)

    model.layer[1].act = Wobble()
    notary = tracing(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = recorded(notary, model)
    torch.set_num_threads(2)
    b = recorded(notary, model)
    torch.set_num_threads(threads)
    found = torchnotary.diff(a, b)
    assert str(found.first_divergence) == (
        "layer.1.act (torchnotary_tests::wobble): another output from the same arguments"
    )
    assert "Only setting that differs: threads 1 → 2." in str(found)
    assert {"weights", "structure", "inputs", "code"} <= set(found.same)
    notary.close()


def test_a_module_trace_names_the_module_and_the_model_what_changed_in_it(tmp_path, model):
    notary = tracing(tmp_path, "modules")
    a = recorded(notary, model)
    changed = copy.deepcopy(model)
    changed.layer[1].norm.eps = 0.5
    found = torchnotary.reproduce(a, changed, (X,))
    assert found.first_divergence.module == "layer.1"
    said = str(found.first_divergence)
    assert said.startswith("layer.1 (") and "Block): another output" in said
    assert "layer.1.norm.eps 1e-05 → 0.5" in said
    compared = torchnotary.diff(a, recorded(notary, changed))
    assert compared.first_divergence.module == "layer.1"
    assert compared.first_divergence.more == 0
    other = torchnotary.diff(a, recorded(notary, model, X + 1))
    assert other.first_divergence is None and "follows from the inputs" in str(other)
    notary.close()


def test_where_tensors_were_kept_the_spread_is_measured_from_the_culprit_on(tmp_path, model):
    notary = tracing(tmp_path, evidence="full")
    a = recorded(notary, model)
    changed = copy.deepcopy(model)
    weight = changed.layer[1].norm.weight
    weight[0] = torch.nextafter(weight[0], torch.tensor(2.0))
    for found in (
        torchnotary.reproduce(a, changed, (X,)),
        torchnotary.diff(a, recorded(notary, changed)),
    ):
        spread = found.first_divergence.spread
        assert found.first_divergence.module == "layer.1.norm"
        assert 0 < spread.at.differing <= 5 and spread.at.elements == 40
        assert sum(count for _, count in spread.at.histogram) == 40
        assert 1 <= spread.at.ulps <= 2
        assert [(step.module, step.operator) for step in spread.growth] == [
            ("layer.2.query", "aten::linear"),
            ("layer.2", "aten::scaled_dot_product_attention"),
            ("layer.2.act", "aten::gelu"),
            ("layer.2", "aten::add.Tensor"),
            ("layer.2.norm", "aten::layer_norm"),
            ("head", "aten::linear"),
        ]
        assert all(0 < step.apart.relative < 1e-4 for step in spread.growth)
        assert "ULP" in str(spread) and "in the end" in str(spread)
        document = found.to_json()["divergence"]["spread"]
        assert document["growth"][-1]["module"] == "head"
    notary.close()


def test_a_trace_that_is_disclosed_names_the_operator_anywhere(tmp_path, model, stranger):
    notary = tracing(tmp_path)
    recorded(notary, model).save(
        tmp_path / "a.tnr", disclose=("inputs", "outputs", "trace", "weights", "structure")
    )
    changed = copy.deepcopy(model)
    changed.layer[2].norm.eps = 0.5
    recorded(notary, changed).save(tmp_path / "b.tnr", disclose=("inputs", "outputs", "trace"))
    recorded(notary, changed).save(tmp_path / "closed.tnr", disclose=("inputs", "outputs"))
    notary.close()
    stranger()
    record = Record.load(tmp_path / "a.tnr")
    assert verify(record)["format"].outcome == "passed"
    assert len(trace_of(record).lines) == record.predicate["trace"]["size"]
    found = torchnotary.diff(record, tmp_path / "b.tnr")
    assert found.first_divergence.module == "layer.2.norm"
    found = torchnotary.reproduce(record, changed, (X,))
    assert found.first_divergence.operator == "aten::layer_norm"
    closed = torchnotary.diff(record, tmp_path / "closed.tnr")
    assert "trace" in closed.not_comparable and "second" in closed.not_comparable[-1].detail
    found = torchnotary.reproduce(
        tmp_path / "closed.tnr", lambda x: changed(x) + 1, {"x": X}, model=changed
    )
    assert "--disclose trace" in str(found.first_divergence)


def test_no_byte_of_a_disclosed_trace_can_be_changed(tmp_path, model):
    notary = tracing(tmp_path)
    recorded(notary, model).save(tmp_path / "a.tnr", disclose="trace")
    members = container.read(tmp_path / "a.tnr")
    for name in ("trace.jsonl", "openings.jsonl"):
        data = members[name]
        for at in range(0, len(data), 97):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            verdict = verify(container.pack({**members, name: changed}))
            assert verdict.exit_code == 1, (name, at)
    notary.close()


def test_traces_of_every_kind_of_operator_are_well_formed_and_run_again_bitwise(tmp_path):
    notary = tracing(tmp_path)

    @notary.record
    def mixture(x):
        y = x.clone()
        with contextlib.suppress(RuntimeError):
            torch.add(y, torch.ones(7), out=y)
        rows = torch.stack(torch.split(x, 1))
        rows[..., 0] = 5
        torch._foreach_add_([y, rows], 1.0)
        values, _ = torch.topk(x, 2)
        out = torch.empty(4, 4)
        torch.mul(x, 2, out=out)
        pairs = torch.view_as_complex(torch.stack([x, x], -1)).conj() * 2j
        sparse = (x.to_sparse() * 2).to_dense()
        mapped = torch.vmap(lambda row: row.sin().sum())(x)
        bits = x.view(torch.int32) + 1
        overlapping = torch.as_strided(x, (2, 3), (1, 1), 1) + 1
        noise = torch.rand(2)
        if (x > 0).any() and x.max().item() > 0:
            out += 1
        parts = (y, rows, values, out, pairs.real, sparse, mapped, bits, overlapping)
        return [part.sum() for part in (*parts, noise, x[x > 0], x.expand(2, 4, 4))]

    x = torch.linspace(-1, 1, 16).reshape(4, 4)
    mixture(x)
    record = notary.last
    record.save(tmp_path / "a.tnr", disclose="trace")
    assert verify(tmp_path / "a.tnr").ok
    found = torchnotary.diff(record, tmp_path / "a.tnr")
    assert found.exit_code == 3 and found.not_comparable == [
        "trace"
    ]  # a sparse value has no digest
    assert torchnotary.reproduce(record, mixture, (x,)).outcome == "bitwise"
    notary.close()


def test_a_record_without_a_trace_cannot_disclose_one(notary, model, tmp_path):
    with pytest.raises(NotaryError, match="the record has no trace"):
        recorded(notary, model).save(tmp_path / "a.tnr", disclose="trace")


def test_traces_of_other_levels_are_not_comparable_and_no_setting(tmp_path, model):
    operators, modules = tracing(tmp_path), tracing(tmp_path, "modules")
    plain = torchnotary.Notary(tmp_path / "plain")
    a, b, c = (recorded(notary, model) for notary in (operators, modules, plain))
    found = torchnotary.diff(a, b)
    assert found.not_comparable == ["trace"] and found.differ == [] and found.settings == []
    assert "trace (the first is of operators, the second of modules)" in str(found)
    assert "the second of nothing" in str(torchnotary.diff(a, c))
    for notary in (operators, modules, plain):
        notary.close()


def test_every_kind_of_callable_is_traced_again(tmp_path, model):
    notary = tracing(tmp_path)

    @notary.record
    def items(x):
        for block in model.layer:
            x = block(x)
            yield x

    @notary.record
    async def later(x):
        await asyncio.sleep(0)
        return model(x)

    @notary.record
    async def stream(x):
        for block in model.layer:
            await asyncio.sleep(0)
            x = block(x)
            yield x

    async def drain():
        return [y async for y in stream(X)]

    runs = [
        (items, lambda: list(items(X))),
        (later, lambda: asyncio.run(later(X))),
        (stream, lambda: asyncio.run(drain())),
    ]
    for call, once in runs:
        once()
        record = notary.last
        found = torchnotary.reproduce(record, call, (X,))
        assert found.outcome == "bitwise" and found.first_divergence is None, str(found)
        eps, model.layer[1].norm.eps = model.layer[1].norm.eps, 0.5
        found = torchnotary.reproduce(record, call, (X,))
        model.layer[1].norm.eps = eps
        assert found.first_divergence.module == "layer.1.norm"
        assert found.first_divergence.operator == "aten::layer_norm", call
    notary.close()


def test_a_reproduction_leaves_modules_as_they_were_called_before(tmp_path, model):
    notary = tracing(tmp_path)
    record = recorded(notary, model)
    notary.close()
    del notary
    before = torch.nn.Module.__call__
    assert torchnotary.reproduce(record, model, (X,)).ok
    assert torch.nn.Module.__call__ is before
    model.layer[2].norm.eps = 0.5
    found = torchnotary.reproduce(record, model, (X,))
    assert found.first_divergence.module == "layer.2.norm"  # with no notary left to hold the layer


def test_the_same_rows_in_another_batch_are_told_from_other_rows(tmp_path, model):
    """Rows of this model do not look at each other, but for the attention, left out here."""
    notary = tracing(tmp_path)
    head = model.head

    @notary.record(model=head)
    def score(x):
        return head(x)

    def of(x):
        score(x)
        return notary.last

    whole, part = of(X), of(X[2:4])
    for a, b, batches in ((whole, part, "5 → 2"), (part, whole, "2 → 5")):
        found = torchnotary.diff(a, b)
        assert f"Only setting that differs: batch {batches}." in str(found)
        assert "inputs" in found.differ and "the same rows in another batch" in str(found)
        assert found.first_divergence is None
        if found.outputs:  # a batch of another size may well give other bits
            assert set(found.outputs[0].rows) <= ({2, 3} if a is whole else {0, 1})
        else:
            assert "outputs (in the rows both have)" in str(found)
    other = torchnotary.diff(whole, of(X[2:4] + 1))
    assert "the same rows" not in str(other) and "outputs" in other.differ
    notary.close()


def test_the_calls_of_a_group_are_traced_again_in_their_order(tmp_path, model):
    notary = tracing(tmp_path)
    notary.attach(model)
    with notary.group():
        model(X)
        model(X + 1)
    record = notary.last
    notary.detach(model)
    inputs = [{"x": X}, {"x": X + 1}]
    found = torchnotary.reproduce(record, model, inputs)
    assert found.outcome == "bitwise" and found.first_divergence is None
    lines = record.predicate["trace"]["size"]
    model.head.bias[0] += 1
    found = torchnotary.reproduce(record, model, inputs)
    assert found.first_divergence.module == "head" and found.first_divergence.argument == "bias"
    assert found.first_divergence.line == lines // 2 - 1 and found.first_divergence.more == 0
    notary.close()


@pytest.mark.parametrize("level", ["operators", "modules"])
def test_calls_of_a_group_inside_one_another_are_traced_once(tmp_path, model, level):
    notary = tracing(tmp_path, level)

    @notary.record
    def inner(x):
        return model(x)

    @notary.record
    def outer(x):
        return inner(x) + 1

    with notary.group():
        outer(X)
        outer(X)
    nested = notary.last.lines("trace.jsonl")
    with notary.group():
        inner(X)
        inner(X)
    apart = notary.last.lines("trace.jsonl")
    assert len(apart) > 0
    assert len(nested) == len(apart) + 2 * (level == "operators")
    notary.close()


def test_a_group_on_two_threads_at_once_says_that_one_of_them_is_not_in_its_trace(tmp_path, model):
    notary = tracing(tmp_path)

    def items(inside, goes_on):
        yield model(X)
        inside.set()
        goes_on.wait(60)
        yield model(X)

    inside, goes_on = threading.Event(), threading.Event()
    with notary.group():
        generator = notary.record(items, model=model)(inside, goes_on)
        next(generator)
        thread = threading.Thread(target=lambda: list(generator))
        thread.start()
        inside.wait(60)
        notary.record(lambda x: model(x), model=model)(X + 1)
        goes_on.set()
        thread.join()
    notary.flush()
    assert notary.stats()["missed"] == 0
    assert notary.last.predicate["record"]["calls"] == 2
    assert notary.last.predicate["execution"]["trace"]["threads"] > 0
    notary.close()


def test_the_commands_name_the_operator(tmp_path, model, capsys):
    notary = tracing(tmp_path)
    ids = [recorded(notary, model).id]
    model.layer[1].norm.eps = 0.5
    ids.append(recorded(notary, model).id)
    notary.close()
    assert run(["diff", *ids]) == 1
    assert "first at layer.1.norm (layer_norm): eps 1e-05 → 0.5." in capsys.readouterr().out
    assert run(["diff", *ids, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["divergence"]["module"] == "layer.1.norm"
    assert run(["save", ids[0], "-o", str(tmp_path / "a.tnr"), "--disclose", "trace"]) == 0
    assert verify(tmp_path / "a.tnr").ok
