"""Groups: many calls, one record, which verifies, discloses and reproduces as one of one call."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest
import torch

import torchnotary
from torchnotary import Manifest, NotaryError, Record, WeightsChanged, diff, reproduce, verify
from torchnotary.capture import group as groups

X = torch.linspace(-1, 1, 24).reshape(3, 8)


@pytest.fixture
def head():
    torch.manual_seed(1)
    return torch.nn.Linear(4, 2).eval()


@pytest.fixture
def plain(notary, net):
    @notary.record
    def plain(x, scale=2):
        with torch.no_grad():
            return net(x) * scale

    return plain


def recorded(notary) -> int:
    notary.flush()
    return notary.stats()["recorded"]


def paths(record, tree):
    return [line["path"] for line in record.lines(f"{tree}.jsonl")]


def test_the_calls_of_a_block_are_one_record_whose_paths_begin_with_their_numbers(
    notary, plain, net, head
):
    @notary.record
    def rank(*, parts):
        return {"best": head(parts[0])}

    notary.attach(head)
    with notary.group(), notary:
        y = plain(X)
        rank(parts=[y, "b"])
        head(y)
        net(X)
    record = notary.last
    assert recorded(notary) == 1
    assert record.calls == record.predicate["record"]["calls"] == 4
    assert paths(record, "inputs") == [
        *("calls[0].x", "calls[0].scale"),
        *("calls[1].parts[0]", "calls[1].parts[1]"),
        "calls[2].input",
        "calls[3].input",
    ]
    assert paths(record, "outputs") == [
        "calls[0].output",
        'calls[1].output["best"]',
        "calls[2].output",
        "calls[3].output",
    ]
    rows = record.digests("outputs")[0]
    assert [digest.hex() for digest in rows] == [torchnotary.commit(row).digest for row in y]


def test_generators_and_coroutines_of_the_block_are_calls_of_it(notary, net):
    @notary.record
    def words(count):
        for index in range(count):
            yield torch.full((2,), float(index))

    @notary.record
    async def later(x):
        await asyncio.sleep(0)
        return x + 1

    with notary.group():
        list(words(2))
        next(words(5))
        asyncio.run(later(1))
    gc.collect()
    record = notary.last
    assert paths(record, "outputs") == [
        *("calls[0].output[0]", "calls[0].output[1]"),
        "calls[1].output[0]",
        "calls[2].output",
    ]
    assert record.predicate["execution"]["calls"][0]["outcome"]["status"] == "closed"


def test_a_generator_that_outlives_the_block_completes_the_record_when_it_ends(notary):
    @notary.record
    def words():
        yield 1
        yield 2

    with notary.group():
        running = words()
        next(running)
    assert notary.last is None and recorded(notary) == 0
    assert list(running) == [2]
    assert paths(notary.last, "outputs") == ["calls[0].output[0]", "calls[0].output[1]"]


def test_last_is_the_record_before_inside_and_that_of_the_group_after(notary, plain):
    plain(X)
    before = notary.last
    with notary.group():
        plain(X)
        assert notary.last is before
    assert notary.last.calls == 1
    after = notary.last
    with notary.group():
        pass
    assert notary.last is after and recorded(notary) == 2


def test_a_block_inside_a_block_is_part_of_it(notary, plain):
    with notary.group():
        plain(X)
        with notary.group():
            plain(X)
        plain(X)
    assert recorded(notary) == 1 and notary.last.calls == 3


def test_an_exception_leaves_a_record_of_what_was_called_and_how_it_ended(notary, plain, net):
    @notary.record
    def fail(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), notary.group():
        plain(X)
        fail(X)
    record = notary.last
    execution = record.predicate["execution"]
    raised = {"exception": "builtins.ValueError", "status": "raised"}
    assert record.calls == 2 and execution["outcome"] == raised
    assert [e["outcome"] for e in execution["calls"] if "outcome" in e] == [raised]
    assert paths(record, "outputs") == ["calls[0].output"]
    plain(X)
    assert notary.last.calls is None


def test_the_models_of_the_calls_are_one_model_section_as_if_given_by_name(notary, net, head):
    encode = notary.record(lambda x: net(x))
    both = notary.record(lambda x: head(net(x)), model={"net": net, "top": head})
    with notary.group():
        encode(X)
        encode(X)
    assert notary.last.predicate["model"]["weights"]["root"] == Manifest.of(net).weights_root
    head.register_buffer("table", torch.arange(3.0), persistent=False)
    with notary.group():
        encode(X)
        both(X)
        notary.record(lambda x: x)(X)
    model = notary.last.predicate["model"]
    expected = Manifest.of({"net": net, "top": head})
    assert model["weights"]["root"] == expected.weights_root
    assert model["structure"]["root"] == expected.structure_root
    assert model["name"] == "net+top"
    assert verify(notary.last, model={"net": net, "top": head}).ok


def test_modules_of_one_name_are_told_apart(notary):
    def recording(module):
        return notary.record(lambda x: module(x))

    one, two = torch.nn.Linear(8, 8).eval(), torch.nn.Linear(8, 8).eval()
    with notary.group():
        recording(two)(recording(one)(X))
    names = [line["name"] for line in notary.last.lines("weights.jsonl")]
    assert names == ["module.bias", "module.weight", "module_2.bias", "module_2.weight"]


def test_a_model_that_changed_between_calls_begins_the_next_record(notary, plain, net):
    with notary.group():
        plain(X)
        with torch.no_grad():
            net[0].weight.add_(1)
        plain(X)
        plain(X)
    assert recorded(notary) == 2
    second = notary.last
    assert second.calls == 2 and second.predicate["model"]["changed"]
    assert second.predicate["model"]["weights"]["root"] == Manifest.of(net).weights_root


def test_a_module_committed_under_two_names_is_compared_all_the_same(notary, plain, net):
    notary.attach(net, name="other")
    with notary.group():
        plain(X)
        with torch.no_grad():
            net[0].weight.add_(1)
        net(X)
    assert recorded(notary) == 2


def test_a_strict_group_refuses_a_changed_model_and_records_what_was_before(tmp_path, net):
    notary = torchnotary.Notary(tmp_path / "strict", strict=True)
    score = notary.record(lambda x: net(x))
    with pytest.raises(WeightsChanged), notary.group():
        score(X)
        net[0].weight.data[0, 0] += 1
        score(X)
    assert notary.stats()["recorded"] == 1 and notary.last.calls == 1
    notary.close()


@pytest.mark.parametrize("part", ["labels", "nonce"])
def test_other_labels_and_another_nonce_begin_the_next_record(notary, plain, part):
    other = {"labels": lambda: notary.labels(a="1"), "nonce": lambda: notary.nonce(b"x")}[part]
    with notary.group():
        plain(X)
        with other():
            plain(X)
    assert recorded(notary) == 2
    assert notary.last.predicate["record"][part] in ({"a": "1"}, b"x".hex())


def test_a_group_beyond_what_a_record_holds_goes_on_in_the_next(full, monkeypatch):
    f = full.record(lambda x: x)
    limits = {"MAX_CALLS": 2, "MAX_LEAVES": 4, "MAX_KEPT_BYTES": 2 * X.nbytes + 1}
    for number, (name, limit) in enumerate(limits.items(), start=1):
        with monkeypatch.context() as patch, full.group():
            patch.setattr(groups, name, limit)
            for _ in range(3):
                f(X)
        assert full.last.calls == 1 and recorded(full) == 2 * number, name


def test_settings_that_change_between_calls_are_named_with_the_call(notary, plain):
    threads = torch.get_num_threads()
    try:
        with notary.group():
            plain(X)
            torch.set_num_threads(threads + 1)
            with torch.autocast("cpu"):
                plain(X)
            torch.set_num_threads(threads)
            plain(X)
    finally:
        torch.set_num_threads(threads)
    execution = notary.last.predicate["execution"]
    assert execution["threads"] == threads
    (entry,) = execution["calls"]
    assert entry["call"] == 1 and entry["threads"] == threads + 1
    assert entry["settings"]["autocast_cpu"] != execution["settings"]["autocast_cpu"]


def test_threads_and_tasks_begun_in_the_block_record_for_themselves(notary, plain):
    seen = {}

    def work():
        plain(X)
        seen["thread"] = notary.last

    async def one(name):
        plain(X)
        seen[name] = notary.last

    async def main():
        with notary.group():
            plain(X)
            await asyncio.gather(one("a"), one("b"), asyncio.to_thread(work))
            plain(X)
        seen["group"] = notary.last

    asyncio.run(main())
    assert [seen[name].calls for name in ("thread", "a", "b", "group")] == [None, None, None, 2]
    assert recorded(notary) == 4


def test_groups_of_several_threads_do_not_mix(notary, plain):
    seen = {}

    def work(number):
        with notary.group():
            for _ in range(number + 1):
                plain(torch.full((2, 8), float(number)))
        seen[number] = notary.last

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, record in seen.items():
        assert record.calls == number + 1
        rows = {d for digests in record.digests("inputs")[::2] for d in digests}
        assert len(rows) == 1
    assert recorded(notary) == 8


def test_a_child_forked_in_the_block_records_for_itself(notary):
    f = notary.record(lambda x: x)
    read, write = os.pipe()
    with notary.group():
        f(1)
        child = os.fork()
        f(2)
        if child == 0:
            alone = notary.last
            with notary.group():
                f(3)
            together = notary.last
    if child == 0:
        try:
            made = (alone.calls, together.calls)
            mine = (*made, notary.last is together, notary.stats()["recorded"])
            os.write(write, repr(mine).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"(None, 1, True, 2)"
    assert notary.last.calls == 2 and recorded(notary) == 1


def test_calls_of_a_group_that_cannot_be_stored_are_all_missed(notary, plain, monkeypatch):
    def refuse(job, origin):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torchnotary.capture.job.CallJob, "build", refuse)
        with pytest.warns(RuntimeWarning, match="no space"):
            with notary.group():
                for _ in range(3):
                    plain(X)
            with pytest.raises(NotaryError, match="3 calls"):
                notary.flush()
    plain(X)
    assert notary.last.predicate["record"]["missed"] == 3


def test_a_call_that_cannot_be_recorded_is_left_out_and_counted(notary, plain, monkeypatch):
    with pytest.warns(RuntimeWarning, match="no hash"), notary.group():
        plain(X)
        with monkeypatch.context() as patch:
            patch.setattr(
                "torchnotary.capture.call.flatten_output",
                lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no hash")),
            )
            plain(X)
        plain(X, 3)
    record = notary.last
    assert record.calls == 2 and record.predicate["record"]["missed"] == 1
    with pytest.raises(NotaryError, match="1 calls"):
        notary.flush()
    assert paths(record, "inputs")[-1] == "calls[1].scale"


# Checking, disclosing, opening


def test_values_given_call_by_call_are_checked(notary, plain, tmp_path):
    with notary.group():
        outputs = [plain(X), plain(X + 1, 3)]
    record = notary.last
    inputs = [(X,), {"x": X + 1, "scale": 3}]
    assert verify(record, inputs=[{"x": X, "scale": 2}, inputs[1]], outputs=outputs).ok
    wrong = verify(record, outputs=[outputs[0], outputs[1] + 1])
    assert wrong.exit_code == 1 and "calls[1].output" in str(wrong)
    short = verify(record, inputs=[{"x": X, "scale": 2}])
    assert short.exit_code == 3 and "calls[1].x" in str(short)
    assert verify(record, outputs=[*outputs, X]).exit_code == 1
    by_path = {"calls[0].output": outputs[0], "calls[1].output": outputs[1]}
    assert verify(record, outputs=by_path).ok


def test_a_group_is_disclosed_with_its_values_and_opened_row_by_row(
    notary, plain, tmp_path, stranger
):
    with notary.group():
        outputs = [plain(X), plain(X + 1)]
    record = notary.last
    row = record.open("outputs", 1, "calls[1].output", outputs)
    assert torch.equal(row.verify(record), outputs[1][1])
    record.save(tmp_path / "open.tnr", disclose=("inputs",), outputs=outputs)
    stranger()
    theirs = Record.load(tmp_path / "open.tnr")
    assert verify(theirs, outputs=outputs).named("failed") == []
    assert torch.equal(theirs.kept("outputs")[1], outputs[1])


# Running again


def test_a_group_is_reproduced_with_one_callable_and_a_list_of_inputs(notary, plain):
    with notary.group():
        plain(X)
        plain(X + 1, scale=3)
    record, inputs = notary.last, [(X,), {"x": X + 1, "scale": 3}]
    found = reproduce(record, plain, inputs)
    assert found.outcome == "bitwise" and found.leaves == 2
    assert "weights and structure" in found.model
    changed = reproduce(record, lambda x, scale=2: plain(x, scale) + (scale == 3), inputs)
    assert changed.outcome == "diverged"
    assert "calls[1].output" in str(changed.first_divergence)
    other = reproduce(record, plain, [(X,), (X, 3)])
    assert other.outcome == "not comparable" and "calls[1].x" in other.cause
    few = reproduce(record, plain, [(X,)])
    assert few.outcome == "not comparable" and "2 calls" in few.cause


def test_kept_inputs_of_several_callables_are_run_again_by_each(full, net, head):
    encode = full.record(lambda x: net(x))
    rank = full.record(lambda *parts: head(parts[0]))
    tick = full.record(lambda: 1)
    with full.group():
        rank(encode(X))
        tick()
        rank(encode(X + 1))
    callables = [rank, encode, tick, rank, encode]
    with pytest.raises(NotaryError, match="one callable for each"):
        reproduce(full.last, callables[:2])
    calls = [encode, rank, tick, encode, rank]
    found = reproduce(full.last, calls)
    assert found.outcome == "bitwise" and "weights and structure" in found.model
    with torch.no_grad():
        head.weight[0, 0] += 1
    found = reproduce(full.last, calls)
    assert found.outcome == "diverged" and found.first_divergence.module == "head"


def test_random_states_and_threads_of_single_calls_are_restored(notary):
    threads = torch.get_num_threads()
    seen = []

    @notary.record
    def draw(count):
        seen.append((torch.get_num_threads(), torch.rand(count).tolist()))
        return seen[-1][1]

    inputs = [(2,), (3,), (0,), (4,), (1,)]
    with notary.group():
        draw(2)
        draw(3)  # goes on where the first left off
        draw(0)
        torch.manual_seed(5)
        draw(4)
        torch.set_num_threads(threads + 1)
        draw(1)
    torch.set_num_threads(threads)
    record, before = notary.last, list(seen)
    seen.clear()
    torch.manual_seed(77)
    state = torch.get_rng_state()
    assert reproduce(record, draw, inputs).outcome == "bitwise"
    assert seen == before
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert list(record.random_states_by_call) == [0, 3]
    execution = record.predicate["execution"]
    assert execution["rng"]["torch"] is not None
    assert ["rng" in entry for entry in execution["calls"]] == [True, False]


def test_a_call_that_failed_fails_again_in_the_same_place(notary):
    @notary.record
    def root(x):
        if x < 0:
            raise ValueError("negative")
        return x**0.5

    with notary.group():
        for x in (4.0, -1.0, 9.0):
            try:
                root(x)
            except ValueError:
                pass
    inputs = [(4.0,), (-1.0,), (9.0,)]
    assert reproduce(notary.last, root, inputs).outcome == "bitwise"
    found = reproduce(notary.last, lambda x: abs(x) ** 0.5, inputs)
    assert found.outcome == "not comparable" and "call 1" in found.cause


def test_two_groups_differ_in_the_call_that_differs(notary, plain):
    def run(threads, x):
        with notary.group():
            plain(X)
            torch.set_num_threads(threads)
            plain(x)
        torch.set_num_threads(before)
        return notary.last

    before = torch.get_num_threads()
    first = run(before, X)
    assert diff(first, run(before, X)).exit_code == 0
    found = diff(first, run(before + 1, X + 1))
    assert f"call 1: threads absent → {before + 1}" in [f"{x}: {x.detail}" for x in found.differ]
    assert any("calls[1].x" in line.detail for line in found.differ)
    plain(X)
    assert any(line == "calls" for line in diff(first, notary.last).differ)


def test_a_record_that_claims_a_group_of_no_calls_is_malformed(notary, plain):
    from torchnotary.statement.predicate import check_statement

    with notary.group():
        plain(X)
    statement = notary.last.statement
    for calls in (0, "2", True, 1 << 40):
        statement["predicate"]["record"]["calls"] = calls
        with pytest.raises(NotaryError, match="record section"):
            check_statement(statement)
    statement["predicate"]["record"]["calls"] = 1
    statement["predicate"]["execution"]["calls"] = [{"call": "0"}]
    with pytest.raises(NotaryError, match="single calls"):
        check_statement(statement)


# Text generation


@pytest.fixture
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads)).eval()


def prompt(sample):
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    options = {"max_new_tokens": 4, "do_sample": sample, "pad_token_id": 0}
    return {"inputs": ids, "attention_mask": torch.ones_like(ids), **options}


@pytest.mark.parametrize("sample", [False, True], ids=["greedy", "sampled"])
def test_a_generation_is_one_call_that_is_reproduced_with_its_draws(notary, llama, sample):
    notary.attach(llama)
    tokens = llama.generate(**prompt(sample))
    record = notary.last
    assert recorded(notary) == 1
    assert (record.predicate["execution"]["rng"]["torch"] is not None) == sample
    assert verify(record, model=llama, outputs=tokens).ok
    torch.manual_seed(99)
    found = reproduce(record, llama.generate, prompt(sample))
    assert found.outcome == "bitwise" and "weights and structure" in found.model


def test_generations_of_a_group_go_on_with_one_another_s_random_state(notary, llama):
    notary.attach(llama)
    with notary.group():
        tokens = [llama.generate(**prompt(True)) for _ in range(3)]
    record = notary.last
    assert recorded(notary) == 1 and list(record.random_states_by_call) == [0]
    assert not torch.equal(tokens[0], tokens[1])
    found = reproduce(record, llama.generate, [prompt(True)] * 3)
    assert found.outcome == "bitwise" and "weights and structure" in found.model
