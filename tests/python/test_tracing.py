"""Operator traces: every operator once, in order, with what it took and made, whatever the mode."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")

import torchnotary as tn  # noqa: E402
from torchnotary import _core  # noqa: E402

F = torch.nn.functional


class Traced:
    """The trace of the last record of a notary, with its unsalted digests by slot."""

    def __init__(self, record):
        self.record = record
        self.facts = record.predicate["execution"]["trace"]
        self.lines = record.lines("trace.jsonl") or []
        blob = bytes(record.private.file("trace.digests") or b"")
        self.digests = []
        while blob:
            (count,) = struct.unpack_from("<I", blob)
            self.digests.append([blob[4 + 32 * i : 36 + 32 * i].hex() for i in range(count)])
            blob = blob[4 + 32 * count :]
        assert len(self.digests) == len(self.lines)
        for number, line in enumerate(self.lines):
            self._open(number, line)

    def _open(self, number, line):
        """Put each slot's digest beside its commitment, which it must open."""
        slots = iter(self.digests[number])
        salts = _core.salts(self.record.private.secret, 3, number, len(self.digests[number]))

        def visit(value, depth=0):
            if isinstance(value, dict):
                for key in sorted(value):
                    if key == "commitment":
                        digest = next(slots)
                        at = 32 * (len(self.digests[number]) - 1 - slots.__length_hint__())
                        salted = _core.blake3(bytes.fromhex(digest), key=salts[at : at + 32])
                        assert salted.hex() == value[key]
                        value["digest"] = digest
                        break
                for key in sorted(value):
                    if key not in ("commitment", "digest"):
                        visit(value[key])
            elif isinstance(value, list):
                for item in value:
                    visit(item)

        for key in ("args", "commitment", "module", "operator", "outputs"):
            if key == "commitment" and key in line:
                next(slots)
            elif key in line and key != "commitment":
                visit(line[key])
        assert next(slots, None) is None

    @property
    def operators(self):
        return [line.get("operator", line["type"]).removeprefix("aten::") for line in self.lines]

    def __getitem__(self, operator):
        found = [x for x in self.lines if x.get("operator") == f"aten::{operator}"]
        assert len(found) == 1, (operator, self.operators)
        return found[0]


@pytest.fixture
def traced(tmp_path):
    """``traced(f, *args)``: the trace of one recorded call of a function."""
    notaries = []

    def run(function, *args, **options):
        notary = tn.Notary(tmp_path / f"log{len(notaries)}", trace="operators", **options)
        notaries.append(notary)
        run.result = notary.record(function)(*args)
        return Traced(notary.last)

    yield run
    for notary in notaries:
        notary.close()


def digest(tensor):
    return tn.commit(tensor).digest


def test_each_operator_is_a_line_with_what_it_took_and_made(traced):
    x = torch.randn(3, 4)
    trace = traced(lambda x: torch.relu(x @ x.t()) + 1.5, x)
    assert trace.operators == ["t", "matmul", "relu", "add.Tensor"]
    product = x @ x.t()
    assert trace["matmul"]["outputs"][0]["digest"] == digest(product)
    assert trace["relu"]["args"]["self"]["from"] == {"line": 1, "output": 0}
    assert trace["relu"]["args"]["self"]["digest"] == digest(product)
    assert trace["add.Tensor"]["args"]["other"] == {"f64": struct.pack(">d", 1.5).hex()}
    assert trace["add.Tensor"]["args"]["alpha"] == 1
    assert trace["add.Tensor"]["outputs"][0]["digest"] == digest(traced.result)
    assert trace["matmul"]["args"]["self"]["from"] == {"input": "x"}
    assert trace["matmul"]["args"]["self"]["digest"] == digest(x)
    view = trace["t"]["outputs"][0]
    assert view["view"] == {"offset": 0, "strides": [1, 4]} and view["digest"] == digest(x)
    assert trace.facts == {
        "left_out": 0,
        "level": "operators",
        "opaque": [],
        "outside": 0,
        "threads": 0,
    }
    assert trace.lines[0]["module"] is None


def test_the_tree_is_the_one_that_was_signed(traced):
    record = traced(lambda x: torch.relu(x) * 2, torch.randn(3)).record
    lines = record.file("trace.jsonl").splitlines()
    root = tn.merkle.root(lines).hex()
    assert record.predicate["trace"] == {"root": root, "size": 2}
    assert lines == [
        json.dumps(json.loads(x), separators=(",", ":"), sort_keys=True).encode() for x in lines
    ]
    assert tn.verify(record).ok


def test_digests_are_taken_before_an_in_place_operator_changes_the_buffer(traced):
    before = torch.arange(4.0)

    def f(x):
        y = x + 0
        y.mul_(3).add_(1)
        return y * 1

    trace = traced(f, before)
    mul, add = trace["mul_.Tensor"], trace["add_.Tensor"]
    assert mul["args"]["self"]["digest"] == digest(before)
    assert mul["outputs"][0]["digest"] == digest(before * 3)
    assert add["args"]["self"]["digest"] == digest(before * 3)
    assert add["args"]["self"]["from"] == {"line": 1, "output": 0}
    assert trace["mul.Tensor"]["args"]["self"]["digest"] == digest(before * 3 + 1)
    assert trace["mul.Tensor"]["args"]["self"]["from"] == {"line": 2, "output": 0}


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_a_write_through_a_view_is_seen_in_what_it_is_a_view_of(traced, mode):
    def f(x):
        with mode():
            y = x.clone()
            before = y.sum()
            y[1].fill_(7.0)
            return before + y.sum()

    x = torch.ones(3, 2)
    trace = traced(f, x)
    sums = [line for line in trace.lines if line["operator"] == "aten::sum"]
    after = x.clone()
    after[1] = 7
    assert sums[0]["args"]["self"]["digest"] == digest(x)
    assert sums[1]["args"]["self"]["digest"] == digest(after)
    fill = trace["fill_.Scalar"]
    assert fill["args"]["self"]["view"] == {"offset": 2, "strides": [1]}
    assert fill["outputs"][0]["digest"] == digest(torch.full((2,), 7.0))
    assert sums[1]["args"]["self"]["from"] == {"line": trace.lines.index(fill), "output": 0}


def test_out_arguments_are_not_read_and_their_new_content_is_committed(traced):
    x = torch.randn(4)

    def f(x):
        out = torch.empty(4)
        torch.add(x, 1, out=out)
        return out * 2

    trace = traced(f, x)
    line = trace["add.out"]
    assert line["args"]["out"] == {"dtype": "float32", "shape": [4], "uninitialized": True}
    assert line["outputs"][0]["digest"] == digest(x + 1)
    assert trace["mul.Tensor"]["args"]["self"]["from"] == {"line": 1, "output": 0}


def test_mutated_arguments_that_are_not_returned_are_outputs_too(traced):
    x = [torch.ones(2), torch.ones(3)]

    def f(x):
        y = [each + 0 for each in x]
        torch._foreach_add_(y, 1.0)
        return y[0].sum() + y[1].sum()

    trace = traced(f, x)
    line = trace["_foreach_add_.Scalar"]
    assert [each["argument"] for each in line["outputs"]] == ["self", "self"]
    assert [each["digest"] for each in line["outputs"]] == [digest(each + 1) for each in x]
    sums = [each for each in trace.lines if each["operator"] == "aten::sum"]
    number = trace.lines.index(line)
    assert [s["args"]["self"]["from"] for s in sums] == [
        {"line": number, "output": 0},
        {"line": number, "output": 1},
    ]


def test_memory_that_nobody_wrote_is_not_hashed_until_it_is_filled(traced):
    def f(x):
        y = torch.empty(2, 3)
        y[0].copy_(x)
        y[1].zero_()
        return y.sum()

    x = torch.randn(3)
    first, second = traced(f, x), traced(f, x)
    assert first.digests == second.digests
    assert first.lines[0]["outputs"] == [
        {"dtype": "float32", "shape": [2, 3], "uninitialized": True}
    ]
    expected = torch.zeros(2, 3)
    expected[0] = x
    assert first["sum"]["args"]["self"]["digest"] == digest(expected)


def test_memory_filled_past_torch_is_read_as_it_is(traced):
    def f(x):
        y = torch.tensor([1.0, 2.0])
        z = torch.empty(2)
        z.numpy()[:] = 5.0
        return x + y + z

    trace = traced(f, torch.zeros(2))
    first, second = (x for x in trace.lines if x["operator"] == "aten::add.Tensor")
    assert first["args"]["other"]["digest"] == digest(torch.tensor([1.0, 2.0]))
    assert second["args"]["other"]["digest"] == digest(torch.full((2,), 5.0))


def test_a_constant_from_outside_is_counted_and_has_no_source(traced):
    constant = torch.full((3,), 2.0)
    trace = traced(lambda x: x * constant, torch.ones(3))
    assert "from" not in trace["mul.Tensor"]["args"]["other"]
    assert trace["mul.Tensor"]["args"]["other"]["digest"] == digest(constant)
    assert trace.facts["outside"] == 1


def test_memory_used_again_for_another_tensor_is_not_taken_for_the_first(traced):
    def f(x):
        total = x.sum()
        for i in range(50):
            y = x + i  # often lies where the one before lay
            total = total + y.sum()
            del y
        return total

    x = torch.zeros(64)
    trace = traced(f, x)
    sums = [line for line in trace.lines if line["operator"] == "aten::sum"][1:]
    assert [s["args"]["self"]["digest"] for s in sums] == [digest(x + i) for i in range(50)]


def test_a_write_that_moves_the_version_counter_alone_is_noticed(traced):
    def f(x):
        y = x + 1
        first = y.sum()
        other = threading.Thread(target=lambda: y.fill_(9.0))
        other.start()
        other.join()
        return first + y.sum()

    trace = traced(f, torch.zeros(3))
    sums = [line for line in trace.lines if line["operator"] == "aten::sum"]
    assert sums[1]["args"]["self"]["digest"] == digest(torch.full((3,), 9.0))
    assert trace.facts["threads"] == 1


def test_a_write_through_data_is_noticed(traced):
    def f(x):
        y = x + 1
        first = y.sum()
        y.data.fill_(9.0)
        return first + y.sum()

    trace = traced(f, torch.zeros(3))
    sums = [line for line in trace.lines if line["operator"] == "aten::sum"]
    assert sums[1]["args"]["self"]["digest"] == digest(torch.full((3,), 9.0))


def test_views_share_their_bases_digest_where_that_is_exact(traced):
    def f(x):
        y = x + 0
        return (
            y.view(4, 3).sum()
            + y[1:].sum()
            + y.transpose(0, 1).sum()
            + y.view(torch.int32).sum()
            + y.expand(2, 3, 4).sum()
        )

    x = torch.randn(3, 4)
    trace = traced(f, x)
    sums = [line["args"]["self"] for line in trace.lines if line["operator"] == "aten::sum"]
    assert sums[0]["digest"] == digest(x.view(4, 3)) and "view" not in sums[0]
    assert sums[1]["digest"] == digest(x) and sums[1]["view"]["offset"] == 4
    assert sums[2]["digest"] == digest(x) and sums[2]["view"]["strides"] == [1, 4]
    assert sums[3]["digest"] == digest(x.view(torch.int32)) and "view" not in sums[3]
    assert sums[4]["digest"] == digest(x) and sums[4]["view"]["strides"] == [0, 4, 1]
    for described in (sums[1], sums[2], sums[4]):
        view = described["view"]
        again = x.flatten().as_strided(described["shape"], view["strides"], view["offset"])
        assert tuple(again.shape) == tuple(described["shape"])


def test_composite_operators_are_seen_whole(traced):
    q = torch.randn(1, 2, 5, 8)

    def f(q):
        y = F.scaled_dot_product_attention(q, q, q)
        y = F.layer_norm(y, (8,))
        return F.conv1d(y[0], torch.ones(5, 5, 1)).softmax(-1)

    names = [name for name in traced(f, q).operators]
    assert [n for n in names if n in ("scaled_dot_product_attention", "layer_norm")] == [
        "scaled_dot_product_attention",
        "layer_norm",
    ]
    assert "conv1d" in names and "softmax.int" in names
    assert not {"_softmax", "native_layer_norm", "convolution"} & set(names)


def test_numbers_read_off_tensors_are_committed_under_a_salt(traced):
    trace = traced(lambda x: x.sum().item() + int(x.argmax()), torch.tensor([1.0, 2.5]))
    item = trace["item"] if trace.operators.count("item") == 1 else trace.lines[1]
    assert item["outputs"][0]["kind"] == "float"
    assert "3.5" not in trace.record.file("trace.jsonl").decode()
    expected = _core.value_digest(b"f" + struct.pack("<d", 3.5)).hex()
    assert item["outputs"][0]["digest"] == expected


def test_a_line_without_tensors_cannot_be_guessed(traced):
    trace = traced(lambda x: torch.zeros(2, dtype=torch.bfloat16, device="cpu") + x, torch.ones(2))
    line = trace["zeros"]
    assert len(line["commitment"]) == 64
    assert line["args"]["dtype"] == "torch.bfloat16" and line["args"]["device"] == "cpu"
    first = trace.record.file("trace.jsonl").splitlines()[0]
    again = traced(lambda x: torch.zeros(2, dtype=torch.bfloat16, device="cpu") + x, torch.ones(2))
    assert again.record.file("trace.jsonl").splitlines()[0] != first


def test_operators_that_draw_random_numbers_are_lines(traced):
    def f(x):
        torch.manual_seed(3)
        return F.dropout(x, 0.5) + torch.rand(4) + torch.bernoulli(torch.full((4,), 0.5))

    first, second = traced(f, torch.ones(4)), traced(f, torch.ones(4))
    assert first.digests == second.digests
    assert {"dropout", "rand", "bernoulli"} <= set(first.operators)


def test_an_exception_ends_its_line_and_the_record_has_it(tmp_path):
    notary = tn.Notary(tmp_path / "log", trace="operators")

    @notary.record
    def f(x):
        y = x + 1
        return torch.mm(y, y)

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        f(torch.ones(2, 3))
    trace = Traced(notary.last)
    assert trace.operators == ["add.Tensor", "mm"]
    assert trace["mm"]["outputs"] is None
    assert not torch._C._dispatch_tls_is_dispatch_key_included("TESTING_ONLY_GenericMode")
    f_after = notary.record(lambda x: x * 2)
    f_after(torch.ones(2))
    assert Traced(notary.last).operators == ["mul.Tensor"]


def test_gradients_flow_through_a_traced_call(tmp_path):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    x = torch.randn(3, requires_grad=True)
    y = notary.record(lambda x: (x * x).sum())(x)
    y.backward()
    assert torch.equal(x.grad, 2 * x.detach())
    assert Traced(notary.last).operators == ["mul.Tensor", "sum"]


def test_autocast_shows_in_what_operators_made(traced):
    def f(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.linear(x, x)

    line = traced(f, torch.randn(4, 4))["linear"]
    assert line["args"]["input"]["dtype"] == "float32"
    assert line["outputs"][0]["dtype"] == "bfloat16"
    assert line["outputs"][0]["digest"] == digest(traced.result)


def test_vmap_runs_right_and_shows_the_tensor_below(traced):
    x = torch.randn(5, 3)
    trace = traced(lambda x: torch.vmap(lambda row: row * 2 + row.sum())(x), x)
    assert torch.equal(traced.result, x * 2 + x.sum(1, keepdim=True))
    line = trace["mul.Tensor"]
    assert line["args"]["self"]["batched"] == [{"dim": 0, "level": 1}]
    assert line["args"]["self"]["digest"] == digest(x)
    assert line["outputs"][0]["digest"] == digest(x * 2)


def test_functional_gradients_run_right(traced):
    x = torch.randn(3)
    traced(lambda x: torch.func.grad(lambda v: (v**3).sum())(x), x)
    assert torch.allclose(traced.result, 3 * x**2)


def test_layouts_without_a_rule_are_unbound_and_say_so(traced):
    dense = torch.eye(3)
    trace = traced(lambda x: (x.to_sparse() @ x).sum(), dense)
    made = next(x for x in trace.lines if "to_sparse" in x["operator"])["outputs"][0]
    assert made["unbound"] == "sparse_coo" and "commitment" not in made


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("scale", torch.full((4,), 2.0), persistent=False)

    def forward(self, x):
        return torch.relu(self.linear(x)) * self.scale


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


def test_modules_parameters_and_buffers_go_by_their_names(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    x = torch.randn(2, 4)
    with torch.no_grad():
        model(x)
    trace = Traced(notary.last)
    assert [line["module"] for line in trace.lines] == [
        *("blocks.0.linear", "blocks.0", "blocks.0"),
        *("blocks.1.linear", "blocks.1", "blocks.1"),
        "head",
    ]
    line = trace.lines[3]
    assert line["args"]["weight"]["from"] == {"parameter": "blocks.1.linear.weight"}
    assert line["args"]["weight"]["digest"] == digest(model.blocks[1].linear.weight)
    assert trace.lines[5]["args"]["other"]["from"] == {"buffer": "blocks.1.scale"}
    assert trace.facts["outside"] == 0


def test_several_models_are_told_apart_by_their_names(tmp_path, model):
    other = Model().eval()
    notary = tn.Notary(tmp_path / "log", trace="operators")
    f = notary.record(
        lambda x: other.head(model(x)[:, :1].expand(2, 4)), model={"a": model, "b": other}
    )
    f(torch.randn(2, 4))
    trace = Traced(notary.last)
    assert trace.lines[0]["module"] == "a.blocks.0.linear"
    assert trace.lines[-1]["module"] == "b.head"
    assert trace.lines[-1]["args"]["weight"]["from"] == {"parameter": "b.head.weight"}


def test_a_weight_edited_before_the_call_has_its_new_digest(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    x = torch.randn(2, 4)
    with torch.no_grad():
        model(x)
        model.head.bias.add_(1)
        model(x)
    trace = Traced(notary.last)
    assert trace.lines[-1]["args"]["bias"]["digest"] == digest(model.head.bias)


def test_the_modules_level_shows_children_and_members_of_lists(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="modules")
    notary.attach(model)
    x = torch.randn(2, 4)
    with torch.inference_mode():
        y = model(x)
    trace = Traced(notary.last)
    assert [line["module"] for line in trace.lines] == ["blocks.0", "blocks.1", "head"]
    assert trace.lines[-1]["outputs"][0]["digest"] == digest(y)
    assert trace.lines[0]["class"].endswith(".Block")
    assert trace.facts["level"] == "modules"


def test_the_modules_level_hashes_inference_tensors_anew(tmp_path):
    class Editing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Identity(), torch.nn.Identity()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            y = self.first(x + self.weight)
            y.add_(1)
            return self.second(y)

    model = Editing().eval()
    notary = tn.Notary(tmp_path / "log", trace="modules")
    notary.attach(model)
    with torch.inference_mode():
        model(torch.zeros(2))
    first, second = (line["outputs"][0]["digest"] for line in Traced(notary.last).lines)
    assert (first, second) == (digest(torch.ones(2)), digest(torch.full((2,), 2.0)))


def test_a_compiled_module_is_one_line_and_the_record_says_so(tmp_path, model):
    plain = model(torch.ones(2, 4))
    model.blocks[0] = torch.compile(model.blocks[0], backend="eager")
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    x = torch.ones(2, 4)
    with torch.no_grad():
        assert torch.equal(model(x), plain)
    trace = Traced(notary.last)
    assert trace.operators == ["call", "linear", "relu", "mul.Tensor", "linear"]
    line = trace.lines[0]
    assert (line["by"], line["module"]) == ("torch.compile", "blocks.0")
    assert line["args"][0]["path"] == "args[0]" and line["args"][0]["digest"] == digest(x)
    assert trace.facts["opaque"] == ["blocks.0"]
    made = line["outputs"][0]["digest"]
    assert trace.lines[1]["args"]["input"]["digest"] == made


@pytest.mark.parametrize("how", ["wrapper", "in place", "script"])
def test_an_attached_model_that_is_compiled_or_scripted_is_one_line(tmp_path, model, how):
    x = torch.ones(2, 4)
    plain = model(x)
    if how == "wrapper":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model = torch.jit.trace(model, x)
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    with torch.no_grad():
        y = model(x)
    assert torch.equal(y, plain)
    trace = Traced(notary.last)
    assert trace.operators == ["call"]
    assert trace.lines[0]["outputs"][0]["digest"] == digest(y)
    assert trace.facts["opaque"] == [""]


def test_a_scripted_child_is_one_line(tmp_path, model):
    model.head = torch.jit.script(model.head)
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    with torch.no_grad():
        model(torch.ones(2, 4))
    trace = Traced(notary.last)
    assert trace.operators[-1] == "call" and trace.lines[-1]["by"] == "torch.jit"


def test_modules_that_run_on_other_threads_are_noticed(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # its thread was there before the call

        @notary.record
        def f(x):
            return pool.submit(model.head, x).result() * 2

        f(torch.ones(2, 4))
    trace = Traced(notary.last)
    assert trace.operators == ["mul.Tensor"]
    assert trace.facts["threads"] == 1 and trace.facts["outside"] == 1


def test_a_block_and_a_generator_and_a_coroutine_are_traced(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    x = torch.ones(2, 4)
    with torch.no_grad():
        with notary:
            model(x)
        assert len(Traced(notary.last).lines) == 7

        @notary.record
        def generate(x):
            yield x + 1
            yield x * 2

        for each in generate(x):
            each.exp()  # the consumer's own
        assert Traced(notary.last).operators == ["add.Tensor", "mul.Tensor"]

        @notary.record
        async def wait(x):
            y = x + 1
            await asyncio.sleep(0)
            return y * 2

        async def main():
            other = asyncio.ensure_future(asyncio.sleep(0, torch.ones(1).exp()))
            result = await wait(x)
            await other
            return result

        asyncio.run(main())
        assert Traced(notary.last).operators == ["add.Tensor", "mul.Tensor"]


def test_a_recorder_inside_a_traced_call_leaves_nothing_in_the_trace(tmp_path, model):
    outer = tn.Notary(tmp_path / "outer", trace="operators")
    inner = tn.Notary(tmp_path / "inner", trace="modules")
    plain = outer.record(lambda x: model(x) + 1)
    plain(torch.ones(2, 4))
    alone = Traced(outer.last)
    inner.attach(model)
    plain(torch.ones(2, 4))
    inside = Traced(outer.last)
    assert inside.operators == alone.operators
    assert inside.digests == alone.digests
    assert [line["module"] for line in Traced(inner.last).lines] == ["blocks.0", "blocks.1", "head"]


def test_values_of_outputs_are_kept_where_evidence_is_full(traced):
    from torchnotary.statement.kept import Kept

    x = torch.randn(3, 4).to(torch.bfloat16)
    trace = traced(lambda x: (x.t() + 1).relu_(), x, evidence="full")
    private = trace.record.private
    kept = Kept.decode(private.file("trace.kept"), private.file("trace.kept.index"))
    assert list(kept) == [(1, 0), (2, 0)]
    assert torch.equal(kept.tensor(1, 0), x.t() + 1)
    assert torch.equal(kept.tensor(2, 0), (x.t() + 1).relu())
    assert kept.tensor(0, 0) is None


def test_a_long_trace_spills_to_disk_and_is_whole(traced):
    def f(x):
        for _ in range(9000):
            x = x + 1
        return x

    trace = traced(f, torch.zeros(2))
    data = trace.record.file("trace.jsonl")
    assert len(data) > 3 << 20
    assert len(trace.lines) == 9000
    assert trace.lines[-1]["outputs"][0]["digest"] == digest(torch.full((2,), 9000.0))
    assert tn.merkle.root(bytes(data).splitlines()).hex() == trace.record.predicate["trace"]["root"]


def test_a_spool_that_cannot_be_written_costs_the_record_not_the_call(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    notary = tn.Notary(tmp_path / "log", trace="operators")

    def f(x):
        for _ in range(9000):
            x = x + 1
        return x

    with pytest.warns(RuntimeWarning, match="operator trace failed"):
        y = notary.record(f)(torch.zeros(2))
        assert torch.equal(y, torch.full((2,), 9000.0))
        with pytest.raises(tn.NotaryError, match="operator trace failed"):
            notary.flush()
    assert notary.stats()["missed"] == 1


def test_bits_are_those_of_the_untraced_call(tmp_path, model):
    x = torch.randn(16, 4)
    with torch.inference_mode():
        plain = model(x)
        for level in ("operators", "modules"):
            notary = tn.Notary(tmp_path / level, trace=level)
            notary.attach(model)
            assert torch.equal(model(x), plain)
            notary.detach(model)
            notary.close()


def test_torch_is_left_as_it_was(tmp_path):
    script = """
import sys, threading, torch, torchnotary as tn
call, start = torch.nn.Module.__call__, threading.Thread.start
model = torch.nn.Linear(2, 2).eval()
for end in ("close", "forget"):
    notary = tn.Notary(sys.argv[1], trace="operators")
    notary.attach(model)
    with torch.no_grad():
        model(torch.ones(2))
        assert torch.nn.Module.__call__ is not call
        with notary:
            model(torch.ones(2))
    notary.flush()
    notary.detach(model)
    if end == "close":
        notary.close()
    else:
        del notary
        import gc; gc.collect()
    assert torch.nn.Module.__call__ is call and threading.Thread.start is start, end
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], check=True)


def test_an_unknown_level_is_refused(tmp_path):
    with pytest.raises(tn.NotaryError, match="unknown trace level"):
        tn.Notary(tmp_path / "log", trace="everything")
    with pytest.raises(tn.NotaryError, match="unknown trace level"):
        tn.Notary(tmp_path / "log", trace=True)


def test_the_calls_of_a_group_share_one_trace(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    notary.attach(model)
    x = torch.randn(2, 4)
    with torch.no_grad(), notary.group():
        y = model(x)
        model.head(y.repeat(1, 2))  # no call of the model
        model(torch.relu(x) + y.sum())
    trace = Traced(notary.last)
    assert len(trace.lines) == 14
    assert trace.lines[0]["args"]["input"]["from"] == {"input": "calls[0].x"}
    assert trace.lines[7]["args"]["input"]["from"] == {"input": "calls[1].x"}
    assert trace.facts["outside"] == 0


def test_another_model_begins_the_next_record_of_a_traced_group(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    other = Model().eval()
    notary.attach(model)
    notary.attach(other)
    with torch.no_grad(), notary.group():
        model(torch.ones(2, 4))
        other(torch.ones(2, 4))
    assert notary.last.predicate["record"]["seq"] == 1
    assert len(Traced(notary.last).lines) == 7


def test_a_call_that_ends_in_an_exception_has_its_trace(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="modules")
    notary.attach(model)
    with pytest.raises(RuntimeError), torch.no_grad():
        model(torch.ones(2, 3))
    assert notary.last.predicate["trace"] is None
    with torch.no_grad():
        model(torch.ones(2, 4))
    assert len(Traced(notary.last).lines) == 3


def test_a_wrapper_made_in_the_call_is_one_line(tmp_path, model):
    notary = tn.Notary(tmp_path / "log", trace="operators")
    f = notary.record(lambda x: torch.compile(model.blocks[1], backend="eager")(x) + 1, model=model)
    with torch.no_grad():
        f(torch.ones(2, 4))
    trace = Traced(notary.last)
    assert trace.operators == ["call", "add.Tensor"]
    assert trace.lines[0]["module"] == "blocks.1"
    assert trace.facts["opaque"] == ["blocks.1"]


def test_memory_that_a_resize_adds_is_not_hashed_until_it_is_filled(traced):
    def f(x):
        y = torch.empty(0)
        y.resize_(1000, 100)
        y.fill_(1.0)
        return x + y.sum()

    trace = traced(f, torch.zeros(1))
    assert trace["resize_"]["outputs"] == [
        {"dtype": "float32", "shape": [1000, 100], "uninitialized": True}
    ]
    assert trace["sum"]["args"]["self"]["digest"] == digest(torch.ones(1000, 100))


def test_outputs_in_a_list_are_not_kept_under_one_name(traced):
    from torchnotary.statement.kept import Kept

    def f(x):
        first, second = torch._foreach_add([x, x], 1.0)
        return first * 2

    private = traced(f, torch.ones(2), evidence="full").record.private
    kept = Kept.decode(private.file("trace.kept"), private.file("trace.kept.index"))
    assert list(kept) == [(1, 0)]
