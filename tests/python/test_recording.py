"""What recording does to a call (nothing) and what it keeps of it (everything it claims)."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import torchnotary
from torchnotary import Notary, NotaryError, WeightsChanged
from torchnotary.capture import surroundings

net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).eval()
X = torch.arange(24, dtype=torch.float32).reshape(3, 8)


def lines(record, tree):
    return {line["path"]: line for line in record.lines(f"{tree}.jsonl")}


def test_a_recorded_call_returns_the_very_object_the_function_returned(notary):
    marker = object()
    assert notary.record(lambda x: marker)(1) is marker


def test_unrecorded_and_recorded_calls_give_bit_equal_outputs_under_native(
    notary, minilm, tokenizer
):
    batch = tokenizer(
        ["one sentence", "another, longer sentence"], padding=True, return_tensors="pt"
    )

    def embed(**inputs):
        with torch.no_grad():
            return minilm(**inputs).last_hidden_state

    plain = embed(**batch)
    recorded = notary.record(embed)(**batch)
    assert torch.equal(plain.view(torch.int32), recorded.view(torch.int32))
    assert notary.last.predicate["model"]["weights"]["size"] == len(minilm.state_dict())


def test_inputs_and_outputs_are_addressed_by_path(notary):
    @dataclasses.dataclass
    class Result:
        logits: torch.Tensor
        meta: dict

    @notary.record
    def score(text, batch, *rest, scale=0.5, **options):
        return Result(torch.ones(2, 3), {"n": [1, None]})

    score("hello", {"ids": X, 7: True}, b"raw", top_k=5, where=Path("/tmp/x"))
    inputs = lines(notary.last, "inputs")
    assert {path: line["kind"] for path, line in inputs.items()} == {
        "text": "str",
        'batch["ids"]': "tensor",
        "batch[{7}]": "bool",
        "rest[0]": "bytes",
        "scale": "float",
        "top_k": "int",
        "where": "str",
    }
    assert inputs['batch["ids"]']["rows"] == 3
    outputs = lines(notary.last, "outputs")
    assert {path: line["kind"] for path, line in outputs.items()} == {
        "output.logits": "tensor",
        'output.meta["n"][0]': "int",
        'output.meta["n"][1]': "none",
    }


def test_batch_encodings_model_outputs_and_numpy_arrays_become_tensor_leaves(
    notary, minilm, tokenizer
):
    @notary.record
    def run(encoding, weights):
        with torch.no_grad():
            return minilm(**encoding)

    run(tokenizer("a sentence", return_tensors="pt"), np.ones((2, 2), np.float16))
    inputs = lines(notary.last, "inputs")
    assert inputs['encoding["input_ids"]']["dtype"] == "int64"
    assert inputs["weights"]["dtype"] == "float16"
    assert {"output.last_hidden_state", "output.pooler_output"} <= set(
        lines(notary.last, "outputs")
    )


def test_values_that_cannot_be_bound_say_so_by_class(notary):
    notary.record(lambda x: {1, 2})(object())
    line = lines(notary.last, "inputs")["x"]
    assert len(line.pop("commitment")) == 64
    assert line == {
        "class": "builtins.object",
        "kind": "unbound",
        "path": "x",
        "type": "leaf",
    }
    assert lines(notary.last, "outputs")["output"]["class"] == "builtins.set"


def test_inputs_are_taken_before_the_call_changes_them(notary):
    def scribble(x):
        x.zero_()

    before = torchnotary.commit(X).digest
    recorded = notary.record(scribble)
    recorded(X.clone())
    changed = notary.last
    notary.record(lambda x: None)(X)
    assert changed.digests("inputs") == notary.last.digests("inputs")
    assert torchnotary.commit(X).digest == before


def test_an_exception_of_the_model_is_recorded_as_a_failed_call_and_raised_unchanged(notary):
    error = ZeroDivisionError("by the model")

    @notary.record
    def broken(x):
        raise error

    with pytest.raises(ZeroDivisionError) as caught:
        broken(1)
    assert caught.value is error
    outcome = notary.last.predicate["execution"]["outcome"]
    assert outcome == {"exception": "builtins.ZeroDivisionError", "status": "raised"}
    assert notary.last.predicate["outputs"] is None


def test_wrong_arguments_raise_the_functions_own_type_error_and_count_nothing(notary):
    @notary.record
    def two(a, b):
        return a

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        two(1)
    assert notary.stats()["missed"] == 0


def test_methods_record_without_self_and_commit_to_its_modules(notary):
    class Service:
        def __init__(self):
            self.encoder = net

        @notary.record
        def run(self, x):
            return self.encoder(x)

    service = Service()
    assert torch.equal(service.run(X), net(X))
    assert list(lines(notary.last, "inputs")) == ["x"]
    assert notary.last.predicate["model"]["class"] == "torch.nn.modules.container.Sequential"


def test_static_and_class_methods_stay_what_they_are(notary):
    class Service:
        @notary.record
        @staticmethod
        def a(x):
            return x

        @notary.record
        @classmethod
        def b(cls, x):
            return cls, x

    assert Service.a(1) == 1
    assert Service().b(2) == (Service, 2)
    assert list(lines(notary.last, "inputs")) == ["x"]


def test_a_coroutine_is_recorded_in_its_own_task(notary):
    @notary.record
    async def score(x):
        await asyncio.sleep(0.01 * x)
        return x

    async def one(x):
        await score(x)
        return notary.last.id, notary.last.digests("inputs")

    async def both():
        return await asyncio.gather(one(2), one(1))

    (first, first_digests), (second, second_digests) = asyncio.run(both())
    assert first != second and first_digests != second_digests


def test_a_generator_is_one_record_whose_items_are_hashed_as_they_pass(notary):
    @notary.record
    def tokens(n):
        for i in range(n):
            item = torch.full((1,), float(i))
            yield item
        return "done"

    for item in tokens(3):
        item.fill_(9)  # a consumer may change what it got
    paths = lines(notary.last, "outputs")
    assert list(paths) == ["output[0]", "output[1]", "output[2]", "output.return"]
    expected = [torchnotary.commit(torch.full((1,), float(i))).digest for i in range(3)]
    assert [d[0].hex() for d in notary.last.digests("outputs")[:3]] == expected


def test_a_generator_closed_early_passes_sent_values_and_says_closed(notary):
    got = []

    @notary.record
    def echo():
        while True:
            got.append((yield len(got)))

    generator = echo()
    assert next(generator) == 0
    assert generator.send("a") == 1
    generator.close()
    assert got == ["a"]
    assert notary.last.predicate["execution"]["outcome"]["status"] == "closed"


def test_an_async_generator_is_recorded(notary):
    @notary.record
    async def stream(n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    async def collect():
        items = [item async for item in stream(3)]
        return items, notary.last

    items, record = asyncio.run(collect())
    assert items == [0, 1, 2]
    assert list(lines(record, "outputs")) == ["output[0]", "output[1]", "output[2]"]


def test_reentrant_calls_are_recorded_each(notary):
    @notary.record
    def factorial(n):
        return 1 if n == 0 else n * factorial(n - 1)

    assert factorial(4) == 24
    notary.flush()
    assert notary.stats()["recorded"] == 5


def test_sixteen_threads_each_see_their_own_last_record(notary):
    @notary.record
    def double(x):
        return x * 2

    seen = {}

    def work(i):
        for _ in range(5):
            double(torch.full((2, 2), float(i)))
        seen[i] = notary.last.digests("inputs")[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tuple(digests) for digests in seen.values()}) == 16
    assert notary.stats() == {"recorded": 80, "missed": 0, "queued": 0}


def test_records_of_a_stream_form_a_chain(notary):
    f = notary.record(lambda x: x)
    chain = []
    for i in range(4):
        f(i)
        chain.append(notary.last)
    records = [r.predicate["record"] for r in chain]
    assert [r["seq"] for r in records] == [0, 1, 2, 3]
    assert [r["previous"] for r in records] == [None, *(r.id for r in chain[:-1])]
    assert len({r["stream"] for r in records}) == 1
    assert len({r["blind"] for r in records}) == 4


def test_nonce_and_labels_are_signed_into_the_records_of_their_block(notary):
    f = notary.record(lambda x: x)
    with notary.nonce(b"challenge"), notary.labels(run="a", split="test"):
        f(1)
        inside = notary.last.predicate["record"]
    f(1)
    outside = notary.last.predicate["record"]
    assert inside["nonce"] == b"challenge".hex()
    assert inside["labels"] == {"run": "a", "split": "test"}
    assert outside["nonce"] is None and outside["labels"] == {}


def test_several_models_stand_under_their_names(notary):
    head = torch.nn.Linear(4, 2).eval()
    f = notary.record(lambda x: head(net(x)), model={"encoder": net, "head": head})
    f(X)
    names = {line["name"] for line in notary.last.lines("weights.jsonl")}
    assert names == {"encoder.0.weight", "encoder.0.bias", "head.weight", "head.bias"}


def test_a_rebound_name_is_looked_up_at_the_next_call(notary):
    model = torch.nn.Linear(8, 4).eval()

    def score(x):
        return model(x)

    recorded = notary.record(score)
    recorded(X)
    first = notary.last.predicate["model"]["weights"]
    model = torch.nn.Linear(8, 4).eval()
    recorded(X)
    assert notary.last.predicate["model"]["weights"] != first


def test_changed_weights_are_committed_anew_and_the_record_says_so(notary):
    model = copy.deepcopy(net)
    recorded = notary.record(lambda x: model(x))
    recorded(X)
    before = notary.last.predicate["model"]
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    recorded(X)
    after = notary.last.predicate["model"]
    assert not before["changed"] and after["changed"]
    assert before["weights"] != after["weights"]
    assert before["structure"] != after["structure"]  # it names the weights root


def test_a_changed_constant_changes_the_structure(notary):
    model = torch.nn.LayerNorm(8).eval()
    recorded = notary.record(lambda x: model(x))
    recorded(X)
    before = notary.last.predicate["model"]
    model.eps = 1e-3
    recorded(X)
    after = notary.last.predicate["model"]
    assert before["weights"] == after["weights"] and before["structure"] != after["structure"]


def test_strict_recording_refuses_a_changed_model(tmp_path):
    model = copy.deepcopy(net)
    with_strict = Notary(tmp_path / "log", strict=True)
    recorded = with_strict.record(lambda x: model(x))
    recorded(X)
    model[0].weight.data[0, 0] += 1
    with pytest.raises(WeightsChanged, match="0.weight"):
        recorded(X)


def test_attach_records_outermost_calls_and_detach_stops(notary):
    model = copy.deepcopy(net)
    assert notary.attach(model) is model
    notary.attach(model)
    y = model(X)
    assert torch.equal(y, net(X))
    notary.flush()
    assert notary.stats()["recorded"] == 1
    assert list(lines(notary.last, "inputs")) == ["input"]
    notary.detach(model)
    model(X)
    notary.flush()
    assert notary.stats()["recorded"] == 1
    assert "_call_impl" not in vars(model)


def test_attach_sees_what_forward_hooks_make_of_the_output(notary):
    model = copy.deepcopy(net)
    notary.attach(model)
    model.register_forward_hook(lambda module, args, output: output + 1)
    y = model(X)
    assert notary.last.digests("outputs")[0][0].hex() == torchnotary.commit(y[0]).digest


def test_copies_and_pickles_of_an_attached_module_are_not_attached(notary):
    model = notary.attach(copy.deepcopy(net))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert torch.equal(other(X), net(X))
    notary.flush()
    assert notary.stats()["recorded"] == 0
    model(X)
    notary.flush()
    assert notary.stats()["recorded"] == 1


def test_training_calls_with_gradients_pass_unrecorded_with_one_warning(notary):
    model = notary.attach(torch.nn.Linear(8, 4))
    with pytest.warns(UserWarning, match="training mode") as caught:
        model(X)
        model(X)
    assert len([w for w in caught if "training mode" in str(w.message)]) == 1
    with torch.no_grad():
        model(X)
    notary.flush()
    assert notary.stats()["recorded"] == 1


def test_a_block_records_every_outermost_module_call_of_its_thread(notary):
    other = threading.Thread(target=lambda: net(X))
    with notary:
        net(X)
        torch.nn.functional.relu(X)
        other.start()
        other.join()
        net(X)
    net(X)
    notary.flush()
    assert notary.stats()["recorded"] == 2
    assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl


def test_an_exception_leaves_a_block_as_it_was(notary):
    with pytest.raises(RuntimeError):
        with notary:
            net(torch.ones(1, 3))
    assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl
    assert notary.last.predicate["execution"]["outcome"]["status"] == "raised"


def test_a_failing_writer_neither_raises_nor_blocks_and_the_next_record_signs_the_miss(
    notary, monkeypatch
):
    f = notary.record(lambda x: x)
    f(0)
    notary.flush()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(type(notary._writer), "submit", full)
        with pytest.warns(RuntimeWarning, match="No space left") as caught:
            assert f(1) == 1
            assert f(2) == 2
        assert len(caught) == 1
        with pytest.raises(NotaryError, match="not recorded"):
            notary.last  # noqa: B018
    assert notary.stats()["missed"] == 2
    f(3)
    assert notary.last.predicate["record"]["missed"] == 2
    with pytest.raises(NotaryError, match="2 calls were not recorded"):
        notary.flush()
    f(4)
    assert notary.last.predicate["record"]["missed"] == 0
    notary.flush()


def test_the_default_decorator_can_be_disabled(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHNOTARY_LOG", str(tmp_path / "default-log"))
    monkeypatch.setenv("TORCHNOTARY_DISABLE", "1")

    @torchnotary.record
    def f(x):
        return x

    assert f(1) == 1
    assert not (tmp_path / "default-log").exists()


def test_an_unknown_profile_names_both_values_and_the_next_step(tmp_path):
    with pytest.raises(NotaryError, match=r"native or deterministic.*bf16.*Next: use 'native'"):
        Notary(tmp_path, profile="bf16")


def test_recording_warns_of_nothing_when_all_is_well(notary):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notary.record(lambda x: x)(X)
        notary.flush()


def test_callable_objects_and_partials_commit_to_the_modules_they_hold(notary):
    class Service:
        def __init__(self):
            self.model = net

        def __call__(self, x):
            return self.model(x)

    notary.record(Service())(X)
    assert notary.last.predicate["model"]["weights"]["size"] == 2
    notary.record(functools.partial(lambda scale, x: net(x) * scale, 2))(X)
    assert notary.last.predicate["model"]["weights"]["size"] == 2
    assert "<lambda>" in notary.last.predicate["code"]["callable"]


@pytest.mark.parametrize(
    "wrapped",
    [torch.nn.DataParallel, lambda module: torch.compile(module, backend="eager")],
    ids=["DataParallel", "torch.compile"],
)
def test_wrappers_are_looked_through(notary, wrapped):
    model = wrapped(copy.deepcopy(net))
    notary.attach(model)
    with torch.no_grad():
        model(X)
    direct = notary.last.predicate["model"]
    notary.attach(copy.deepcopy(net))(X)
    assert notary.last.predicate["model"]["weights"] == direct["weights"]
    assert notary.last.predicate["model"]["structure"] == direct["structure"]


def test_generate_is_one_call_of_an_attached_model(notary):
    class Decoder(torch.nn.Linear):
        def generate(self, start, steps=3):
            for _ in range(steps):
                start = self(start)
            return start

    model = notary.attach(Decoder(4, 4).eval())
    with torch.no_grad():
        y = model.generate(torch.ones(1, 4), steps=5)
    notary.flush()
    assert notary.stats()["recorded"] == 1
    assert notary.last.digests("outputs")[0][0].hex() == torchnotary.commit(y[0]).digest
    assert list(lines(notary.last, "inputs")) == ["start", "steps"]


def test_an_attached_module_inside_a_recorded_call_makes_no_second_record(notary):
    model = notary.attach(copy.deepcopy(net))
    notary.record(lambda x: model(x))(X)
    notary.flush()
    assert notary.stats()["recorded"] == 1


def test_gradients_flow_through_a_recorded_call(notary):
    x = X.clone().requires_grad_()
    notary.record(lambda x: net(x).sum())(x).backward()
    assert torch.equal(x.grad, torch.autograd.grad(net(x).sum(), x)[0])


def test_a_single_model_given_by_name_goes_by_that_name(notary):
    notary.record(lambda x: net(x), model={"encoder": net})(X)
    assert {line["name"] for line in notary.last.lines("weights.jsonl")} == {
        "encoder.0.weight",
        "encoder.0.bias",
    }
    assert torchnotary.verify(notary.last, model={"encoder": net}).ok


def test_a_counter_on_the_model_changes_the_structure_but_not_the_weights(notary):
    class Counting(torch.nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    model = Counting(8, 4).eval()
    recorded = notary.record(lambda x: model(x))
    recorded(X)
    before = notary.last.predicate["model"]
    recorded(X)
    after = notary.last.predicate["model"]
    assert after["changed"] and after["structure"] != before["structure"]
    assert after["weights"] == before["weights"]


def test_keyword_names_that_are_no_identifiers_cannot_pose_as_paths(notary):
    notary.record(lambda **options: None)(**{"a": {"b": 1}, 'a["b"]': 2})
    assert list(lines(notary.last, "inputs")) == [
        'options["a"]["b"]',
        'options["a[\\"b\\"]"]',
    ]


def test_the_source_is_read_again_when_another_thread_disturbs_the_parser(monkeypatch):
    getsource, failures = inspect.getsource, iter([SystemError("AST constructor"), None])

    def disturbed(subject):
        error = next(failures)
        if error is not None:
            raise error
        return getsource(subject)

    monkeypatch.setattr(surroundings.inspect, "getsource", disturbed)
    _, text = surroundings._source(Notary)
    assert text == getsource(Notary)
