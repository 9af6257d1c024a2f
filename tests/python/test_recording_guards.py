"""Recording stays out of the way: of copies, compilers, tracers, memory, contexts and warnings."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import io
import pickle
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import torchnotary
from torchnotary import Notary, NotaryError

X = torch.arange(24, dtype=torch.float32).reshape(3, 8)


def make_net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).eval()


def recorded_count(notary) -> int:
    notary.flush()
    return notary.stats()["recorded"]


def test_calls_missed_amid_a_full_batch_are_signed_for_exactly_once(notary, monkeypatch):
    f = notary.record(lambda x: x)
    f(0)
    notary.flush()
    gate = threading.Event()
    plain = torchnotary.capture.job.CallJob.build

    def slow(job, origin):
        gate.wait(30)
        return plain(job, origin)

    records = []
    with monkeypatch.context() as patch:
        patch.setattr(torchnotary.capture.job.CallJob, "build", slow)
        for _ in range(20):
            f(1)
            records.append(notary.last)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                notary._refuse(NotaryError("a miss in the middle"))
        for _ in range(20):
            f(2)
            records.append(notary.last)
        gate.set()
        records[-1].id  # noqa: B018 — waits until it is stored
    missed = [record.predicate["record"]["missed"] for record in records]
    assert sum(missed) == 3 and min(missed) == 0
    with pytest.raises(NotaryError, match="3 calls"):
        notary.flush()
    f(3)
    assert notary.last.predicate["record"]["missed"] == 0


def test_one_record_that_cannot_be_built_does_not_break_the_chain_of_its_batch(notary, monkeypatch):
    f = notary.record(lambda x: x)
    plain = torchnotary.capture.job.CallJob._predicate

    def fragile(job, *arguments):
        if job._call.labels.get("break"):
            raise ZeroDivisionError("no predicate")
        return plain(job, *arguments)

    monkeypatch.setattr(torchnotary.capture.job.CallJob, "_predicate", fragile)
    records = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(60):
            if i == 30:
                with notary.labels(**{"break": "yes"}):
                    f(i)
            else:
                f(i)
                records.append(notary.last)
        sections = [record.predicate["record"] for record in records]
        with pytest.raises(NotaryError, match="no predicate"):
            notary.flush()
    assert [s["seq"] for s in sections] == list(range(59))
    assert [s["previous"] for s in sections[1:]] == [r.id for r in records[:-1]]
    assert sum(s["missed"] for s in sections) <= 1


def test_copies_of_an_attached_model_carry_nothing_of_it(notary):
    model = notary.attach(make_net())
    for other in (
        copy.deepcopy(model),
        copy.copy(model),
        pickle.loads(pickle.dumps(model)),
        model._replicate_for_data_parallel(),
    ):
        assert not [name for name in vars(other) if "call_impl" in name or name == "generate"]
    buffer = io.BytesIO()
    torch.save(model, buffer)
    assert b"torchnotary" not in buffer.getvalue()
    original = torchnotary.Manifest.of(make_net())
    assert torchnotary.Manifest.of(copy.deepcopy(model)).structure_root == original.structure_root
    assert torchnotary.Manifest.of(model).structure_root == original.structure_root


def test_a_replica_of_a_copy_runs_its_own_modules(notary):
    replica = copy.deepcopy(notary.attach(make_net()))._replicate_for_data_parallel()
    torch.manual_seed(1)
    replica._modules = {"0": torch.nn.Linear(8, 4), "1": torch.nn.Identity()}
    assert torch.equal(replica(X), replica.forward(X))


def test_attached_and_observed_models_die_when_let_go(notary):
    model, observed, named = make_net(), make_net(), make_net()
    notary.attach(model)
    model(X)
    with notary:
        observed(X)
    notary.record(lambda x: named(x), model=named)(X)
    references = [weakref.ref(x) for x in (model, observed, model[0].weight, observed[0].weight)]
    notary.flush()
    del model, observed
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_an_attached_model_needs_no_garbage_collector_to_be_freed(notary):
    model = notary.attach(torch.nn.Linear(8, 4).eval())
    model(X)
    notary.flush()
    reference = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert reference() is None
    finally:
        gc.enable()


def test_warnings_turned_into_errors_do_not_reach_into_calls(notary, caplog):
    model = notary.attach(torch.nn.Linear(8, 4))
    f = notary.record(lambda x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(X)  # in training mode: would warn
        notary.close()
        assert f(1) == 1  # unrecorded: would warn
    assert "training mode" in caplog.text and "closed" in caplog.text


def test_blocks_may_be_left_in_another_context_than_they_were_entered_in(notary):
    def dependency():
        with notary.labels(user="x"), notary.nonce(b"n"), notary:
            yield 1

    generator = dependency()
    assert contextvars.copy_context().run(next, generator) == 1
    assert contextvars.copy_context().run(next, generator, None) is None
    assert torch.nn.Module.__call__ is torch.nn.Module._wrapped_call_impl


def test_tracers_and_exporters_see_the_model_alone(notary):
    model = notary.attach(make_net())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(model, X)
        assert torch.equal(traced(X), make_net()(X))
        program = torch.export.export(model, (X,))
        assert torch.equal(program.module()(X), make_net()(X))
        graph = torch.fx.experimental.proxy_tensor.make_fx(model)(X)
        plain = torch.fx.experimental.proxy_tensor.make_fx(make_net())(X)
        assert [n.target for n in graph.graph.nodes] == [n.target for n in plain.graph.nodes]
    assert notary.stats()["missed"] == 0


def test_tracing_a_recorded_function_that_torch_refuses_to_trace_does_not_crash(tmp_path):
    code = """
        import sys, torch, torchnotary as tn
        net = torch.nn.Linear(4, 2)
        f = tn.Notary(sys.argv[1]).record(lambda x: net(x))
        try:
            torch.jit.trace(f, torch.ones(1, 4))
        except RuntimeError as error:
            assert "requires grad" in str(error), error
            print("refused")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout == "refused\n", done.stderr


def test_an_attached_module_compiles_into_a_parents_full_graph(notary):
    model = notary.attach(make_net())
    parent = torch.compile(torch.nn.Sequential(model), backend="eager", fullgraph=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(parent(X), make_net()(X))


def test_a_compiled_recorded_function_is_recorded_and_what_it_calls_is_compiled(notary):
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph

    net = make_net()
    f = torch.compile(notary.record(lambda x: net(x) * 2), backend=backend)
    with torch.no_grad():
        y = f(X)
        f(X)
    assert torch.equal(y, net(X) * 2)
    assert recorded_count(notary) == 2 and compiled


def test_the_callers_modes_see_only_the_callers_operators(notary):
    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function)
            return function(*args, **(kwargs or {}))

    net = make_net()
    counts = []
    for call in (net, notary.record(lambda x: net(x))):
        seen = []
        with torch.no_grad(), Counting():
            call(X)
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert recorded_count(notary) == 1


def test_a_generator_whose_cleanup_raises_is_recorded_as_raised(notary):
    @notary.record
    def stream():
        try:
            yield 1
        finally:
            raise ValueError("while closing")

    generator = stream()
    next(generator)
    with pytest.raises(ValueError, match="while closing"):
        generator.close()
    outcome = notary.last.predicate["execution"]["outcome"]
    assert outcome == {"exception": "builtins.ValueError", "status": "raised"}


def test_a_suspended_generator_does_not_keep_what_its_consumer_let_go(notary):
    @notary.record
    def stream():
        for _ in range(2):
            yield torch.ones(4)

    generator = stream()
    item = next(generator)
    reference = weakref.ref(item)
    del item
    gc.collect()
    assert reference() is None
    generator.close()


def test_a_missed_call_does_not_keep_its_arguments(notary):
    f = notary.record(lambda x: None)
    notary.close()
    argument = torch.ones(4)
    reference = weakref.ref(argument)
    with pytest.warns(RuntimeWarning):
        f(argument)
    del argument
    gc.collect()
    assert reference() is None


def test_values_kept_with_waiting_jobs_are_bounded(tmp_path, monkeypatch):
    from torchnotary.log import committer

    monkeypatch.setattr(committer, "QUEUE_BYTES", 100_000)
    monkeypatch.setattr(torchnotary.capture.job.CallJob, "build", lambda *_: gate.wait(30))
    gate = threading.Event()
    notary = Notary(tmp_path / "log", evidence="full")
    f = notary.record(lambda x: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(50):
            f(torch.zeros(10_000))
        assert notary.stats()["missed"] >= 40
        gate.set()
        with pytest.raises(NotaryError):
            notary.close()


def test_disabling_lets_modules_pass_too(monkeypatch):
    monkeypatch.setenv("TORCHNOTARY_DISABLE", "1")
    model = make_net()
    assert torchnotary.record(model) is model
    assert "_call_impl" not in vars(model)


@pytest.mark.parametrize("first_to_go", [0, 1])
def test_two_notaries_detach_in_any_order(tmp_path, first_to_go):
    notaries = [Notary(tmp_path / "a"), Notary(tmp_path / "b")]
    model = make_net()
    for notary in notaries:
        notary.attach(model)
    model(X)
    gone, stays = notaries[first_to_go], notaries[1 - first_to_go]
    gone.detach(model)
    model(X)
    assert recorded_count(gone) == 1 and recorded_count(stays) == 2
    stays.detach(model)
    assert not [name for name in vars(model) if "call_impl" in name or name.startswith("__")]
    for notary in notaries:
        notary.close()


def test_a_recorder_may_be_called_from_anywhere(notary):
    model = notary.attach(make_net())

    class Trainer:
        def step(self):
            return model._call_impl(X)

    assert torch.equal(Trainer().step(), make_net()(X))


def test_a_submodule_named_generate_stays_a_submodule(notary):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.generate = torch.nn.Linear(8, 4)

        def forward(self, x):
            return self.generate(x)

    model = notary.attach(Model().eval())
    assert model.generate.weight.shape == (4, 8)
    model(X)
    assert recorded_count(notary) == 1


def test_a_task_begun_inside_a_recorded_coroutine_is_not_inside_it(notary):
    model = notary.attach(make_net())

    async def later():
        await asyncio.sleep(0.01)
        model(X)

    @notary.record
    async def spawn():
        return asyncio.ensure_future(later())

    async def main():
        await (await spawn())

    asyncio.run(main())
    assert recorded_count(notary) == 2


def test_an_object_with_an_async_call_is_recorded_when_it_is_awaited(notary):
    class Service:
        async def __call__(self, x):
            await asyncio.sleep(0)
            return x + 1

    assert asyncio.run(notary.record(Service())(1)) == 2
    assert notary.last.lines("outputs.jsonl")[0]["kind"] == "int"


def test_an_object_that_holds_a_notary_can_be_copied(notary):
    assert copy.deepcopy({"notary": notary})["notary"] is notary


def test_strict_recording_survives_a_generator_collected_on_the_writers_thread(tmp_path):
    code = """
        import gc, sys, torchnotary as tn
        import torchnotary.capture.job as job
        notary = tn.Notary(sys.argv[1], strict=True)

        @notary.record
        def stream():
            yield 1
            yield 2

        plain = job.CallJob.build

        def collecting(self, origin):
            gc.collect()
            return plain(self, origin)

        job.CallJob.build = collecting
        holder = [stream()]
        next(holder[0])
        holder.append(holder)
        del holder
        notary.record(lambda x: x)(1)
        notary.close()
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "done\n", done.stderr


_LOCKS = {
    "the stream": ("notary._stream", "_lock"),
    "modules": ("module_calls", "_lock"),
    "torch's functions": ("torch_functions", "_lock"),
    "compiled code": ("exact._EAGER", "_lock"),
}


@pytest.mark.parametrize(("owner", "name"), _LOCKS.values(), ids=_LOCKS)
def test_a_collection_inside_a_lock_can_close_what_was_recorded(tmp_path, owner, name):
    code = f"""
        import gc, sys, torch, torchnotary as tn
        from torchnotary import exact, torch_functions
        from torchnotary.capture import module_calls
        from torchnotary.errors import Saturated

        gc.disable()
        notary = tn.Notary(sys.argv[1], profile="exact/1")
        other = tn.Notary(sys.argv[2], profile="exact/1")
        model = torch.nn.Linear(2, 2).eval()

        @notary.record
        def score():
            with torch.inference_mode():
                return model(torch.ones(1, 2))

        @notary.record
        def stream():
            yield score()
            yield score()

        score()

        def refuse(job, *, block=False):
            raise Saturated("full")

        held = [stream()]
        next(held[0])
        held.append(held)
        held.append(other)
        other.attach(torch.nn.Linear(2, 2).eval())
        del held, other
        notary._writer.submit = refuse
        entered = []

        class Collecting:
            def __init__(self, lock):
                self._lock = lock

            def __enter__(self):
                self._lock.__enter__()
                entered.append(gc.collect())

            def __exit__(self, *exception):
                return self._lock.__exit__(*exception)

        {owner}.{name} = Collecting({owner}.{name})
        notary.stats()
        score()
        with torch.inference_mode(), notary:
            model(torch.ones(1, 2))
        notary._stream.take_missed()
        print("collected", any(entered))
    """
    logs = (str(tmp_path / "log"), str(tmp_path / "other"))
    command = [sys.executable, "-c", textwrap.dedent(code), *logs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "collected True\n", done.stderr
