"""Recording under load and in trouble: threads, processes, exceptions, thousands of calls."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from test_determinism import CHANGED, SETTINGS, WANTED, everything, reset
from torchnotary import Notary, Record, commit, diff, verify
from torchnotary.log.reader import LogFolder

TRACES = [False, "operators"]


@pytest.fixture(params=TRACES, ids=lambda trace: f"trace={trace}")
def trace(request):
    return request.param


@pytest.fixture
def recorder(tmp_path, trace):
    notary = Notary(tmp_path / "log", trace=trace)
    yield notary
    notary.close()


class Mixed(torch.nn.Module):
    """A convolution, an LSTM and attention: (N, 3, 16) -> (N, 4)."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv1d(3, 8, 3, padding=1)
        self.recurrent = torch.nn.LSTM(8, 8, batch_first=True)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x):
        x = torch.nn.functional.gelu(self.convolution(x)).transpose(1, 2)
        x, _ = self.recurrent(x)
        x, _ = self.attention(x, x, x)
        return self.head(x.mean(1))


@pytest.fixture
def mixed():
    torch.manual_seed(0)
    return Mixed().eval().requires_grad_(False)


def of_thread(number):
    return torch.full((2, 3, 16), float(number))


# Many at once


def test_sixteen_threads_record_at_once_each_its_own_values(recorder, mixed, trace):
    recorder.attach(mixed)
    decorated = recorder.record(lambda x: mixed(x) + 1)
    everyone = threading.Barrier(16)
    seen, failures = {}, []

    def work(number):
        x = of_thread(number)
        try:
            everyone.wait(60)
            for _ in range(4):
                y = mixed(x)
                attached = recorder.last
                z = decorated(x)
                seen.setdefault(number, []).append((attached, y, recorder.last, z))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.flush()
    assert not failures and recorder.stats() == {"recorded": 128, "missed": 0, "queued": 0}
    for number, made in seen.items():
        for attached, y, record_of_function, z in made:
            assert verify(attached, model=mixed, inputs=(of_thread(number),), outputs=y).ok
            assert verify(record_of_function, inputs=(of_thread(number),), outputs=z).ok
    records = [r.predicate["record"] for made in seen.values() for m in made for r in (m[0], m[2])]
    chain = sorted(records, key=lambda section: section["seq"])
    assert [section["seq"] for section in chain] == list(range(128))
    ids = {r.id for made in seen.values() for m in made for r in (m[0], m[2])}
    assert ids - {section["previous"] for section in chain} == {
        next(r.id for made in seen.values() for m in made for r in (m[0], m[2]) if _is_last(r))
    }


def _is_last(made: Record) -> bool:
    return made.predicate["record"]["seq"] == 127


def _record_in_child(folder, trace, number, home, inherited=None):
    os.environ["TORCHNOTARY_HOME"] = home  # a fork server has that of the test that began it
    notary = inherited or Notary(folder, trace=trace)
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU()).eval()
    notary.record(lambda x: model(x), model=model)(of_thread(number))
    made = notary.last
    made.save(folder.parent / f"{number}.tnr", disclose=("inputs", "outputs"))
    notary.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_child_processes_record_into_the_folder_while_the_parent_goes_on(
    recorder, tmp_path, trace, method
):
    folder = tmp_path / "log"
    f = recorder.record(lambda x: x + 1)
    f(of_thread(9))
    context = multiprocessing.get_context(method)
    inherited = (recorder,) if method == "fork" else ()
    children = [
        context.Process(
            target=_record_in_child,
            args=(folder, trace, number, os.environ["TORCHNOTARY_HOME"], *inherited),
            daemon=True,
        )
        for number in range(2)
    ]
    for child in children:
        child.start()
        f(of_thread(9))
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    f(of_thread(9))
    recorder.flush()
    for number in range(2):
        made = Record.load(tmp_path / f"{number}.tnr")
        assert verify(made, inputs=(of_thread(number),), outputs=of_thread(number)).ok
        section = made.predicate["record"]
        assert section["seq"] == 0 and section["previous"] is None
    assert recorder.last.predicate["record"]["seq"] == 3
    assert recorder.stats() == {"recorded": 4, "missed": 0, "queued": 0}
    assert len(list(LogFolder(folder).list())) == 6


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_the_writer_reads_a_source_leaves_the_child_able_to_record(
    recorder, monkeypatch
):
    reading, go_on = threading.Event(), threading.Event()
    plain = inspect.getsource

    def slow(subject):
        reading.set()
        assert go_on.wait(60)
        return plain(subject)

    f = recorder.record(lambda x: x)
    monkeypatch.setattr(inspect, "getsource", slow)
    f(1)
    assert reading.wait(60)
    monkeypatch.setattr(inspect, "getsource", plain)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: (f(2), recorder.flush(), os._exit(7)), daemon=True
    )
    child.start()
    go_on.set()
    child.join(60)
    child.kill()
    assert child.exitcode == 7


# Exceptions in the middle


class Boom(Exception):
    pass


def function(notary, check):
    @notary.record
    def f():
        check()
        raise Boom

    f()


def generator(notary, check):
    @notary.record
    def f():
        check()
        yield 1
        check()
        raise Boom

    list(f())


def coroutine(notary, check):
    @notary.record
    async def f():
        check()
        await asyncio.sleep(0)
        check()
        raise Boom

    asyncio.run(f())


def async_generator(notary, check):
    @notary.record
    async def f():
        check()
        yield 1
        raise Boom

    async def drain():
        async for _ in f():
            pass

    asyncio.run(drain())


class Failing(torch.nn.Module):
    def __init__(self, check):
        super().__init__()
        self.check = check

    def forward(self, x):
        torch.relu(x)
        self.check()
        raise Boom


def attached_module(notary, check):
    notary.attach(Failing(check).eval())(torch.ones(2))


def module_in_a_block(notary, check):
    with notary:
        torch.nn.Sequential(torch.nn.ReLU(), Failing(check)).eval()(torch.ones(2))


def call_in_a_group(notary, check):
    with notary.group():
        function(notary, check)


def call_in_a_call(notary, check):
    notary.record(lambda: function(notary, check))()


WAYS = [
    *(function, generator, coroutine, async_generator, attached_module, module_in_a_block),
    *(call_in_a_group, call_in_a_call),
]


@pytest.fixture
def fresh_settings():
    threads = torch.get_num_threads()
    reset()
    yield
    reset()
    torch.set_num_threads(threads)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_exception_amid_a_deterministic_call_restores_every_setting(
    tmp_path, way, trace, fresh_settings
):
    with_scope = Notary(tmp_path / "log", profile="deterministic", trace=trace)
    for name, value in CHANGED:
        SETTINGS[name][0](value)
        before, checked = everything(), []
        assert before[name] == value

        def check(name=name, before=before, checked=checked):
            wanted = before["threads"] if name == "threads" else WANTED.get(name, False)
            assert everything()[name] == wanted, name
            checked.append(name)

        with pytest.raises(Boom):
            way(with_scope, check)
        assert checked and everything() == before, name
        outcome = with_scope.last.predicate["execution"]["outcome"]
        assert outcome["status"] == "raised" and outcome["exception"].endswith("Boom")
        reset()
    with_scope.flush()
    with_scope.close()


def test_an_exception_leaves_nothing_behind_for_the_next_call(recorder, mixed):
    f = recorder.record(lambda x: mixed(x))
    x = of_thread(1)
    y = f(x)
    with pytest.raises(RuntimeError):
        f(torch.ones(2, 5, 16))
    assert recorder.last.predicate["execution"]["outcome"]["status"] == "raised"
    assert torch.equal(f(x), y)
    assert diff_of_outputs(recorder.last, y)
    recorder.attach(mixed)
    mixed(x)
    recorder.flush()
    assert recorder.stats()["recorded"] == 4


def diff_of_outputs(made: Record, y) -> bool:
    (rows,) = made.digests("outputs")
    return [digest.hex() for digest in rows] == [commit(row).digest for row in y]


# Thousands of calls


GROWTH = """
    import gc, os, sys
    import torch, torchnotary

    trace = {trace!r}
    notary = torchnotary.Notary(sys.argv[1], trace=trace)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU()).eval().requires_grad_(False)
    notary.attach(net)
    score = notary.record(lambda x: torch.relu(x))
    x = torch.ones(64, 64)

    def calls(count):
        for number in range(count // 10):
            for _ in range(4):
                net(x)
                score(x)
            with notary.group():
                net(x)
                score(x)
            if number % 10 == 9:
                notary.flush()
        gc.collect()
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE")

    seen = [calls(count) for count in (1000, {calls}, {calls})]
    for now, then in zip(seen[1:], seen):
        print(*(a - b for a, b in zip(now, then)))
    assert notary.stats()["missed"] == 0
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_thousands_of_calls_do_not_grow_the_process(tmp_path, trace, soak):
    code = textwrap.dedent(GROWTH.format(trace=trace, calls=5000 if soak else 1000))
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "log"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    rounds = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
    # A cache fills once, in one round or the other; what grows with the calls does so in both.
    assert min(blocks for blocks, _ in rounds) < 500  # of Python's memory, half of one a call
    assert min(nbytes for _, nbytes in rounds) < 2**21  # one input of each call were 16 MiB


def test_one_call_repeated_gives_one_sequence_of_digests(tmp_path, mixed, trace, soak):
    times = 1000 if soak else 100
    notary = Notary(tmp_path / "log", profile="deterministic", trace=trace)
    notary.attach(mixed)
    x = torch.linspace(-1, 1, 192).reshape(4, 3, 16)
    made = []
    for number in range(times):
        mixed(x)
        made.append(notary.last)
        if number % 100 == 99:
            notary.flush()
    private = [(one.digests("inputs"), one.digests("outputs")) for one in made]
    assert all(digests == private[0] for digests in private)
    salted = {line["commitment"] for one in made for line in one.lines("outputs.jsonl")}
    salts = {salt for one in made for _, salt in one.opened("outputs")[0]}
    assert len(salted) == times and len(salts) == 4 * times
    notary.close()


# What changes the bits is named as the cause


def test_another_number_of_threads_is_named_as_the_cause(recorder):
    torch.manual_seed(0)
    vectors = torch.randn(40, 100_003)
    f = recorder.record(lambda x: [vector.sum() for vector in x])
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            f(vectors)
            made.append(recorder.last)
    finally:
        torch.set_num_threads(before)
    found = diff(*made)
    assert [line for line in found.differ if line != "trace"] == ["outputs", "threads"]
    assert "Only setting that differs: threads 1 → 2." in str(found)


def test_another_batch_is_named_as_the_cause(recorder):
    torch.manual_seed(0)
    layer = torch.nn.Linear(512, 384).eval().requires_grad_(False)
    x = torch.randn(16, 512)
    recorder.attach(layer)
    made = []
    for batch in (x[:1], x):
        layer(batch)
        made.append(recorder.last)
    alone, among_others = (one.digests("outputs")[0][0] for one in made)
    assert alone != among_others
    found = diff(*made)
    assert "Only setting that differs: batch 1 → 16." in str(found)


ISA = """
    import sys
    import torch, torchnotary

    net = torch.nn.Sequential(torch.nn.Linear(512, 384), torch.nn.GELU(), torch.nn.LayerNorm(384))
    weights, x = torch.load(sys.argv[1])
    net.load_state_dict(weights)
    notary = torchnotary.Notary(sys.argv[2], trace={trace!r})
    notary.attach(net.eval().requires_grad_(False))
    net(x)
    notary.last.save(sys.argv[2] + ".tnr", disclose=("inputs", "outputs"))
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"), reason="one CPU path only"
)
def test_another_cpu_path_is_named_as_the_cause(tmp_path, trace):
    torch.manual_seed(0)
    layers = torch.nn.Linear(512, 384), torch.nn.GELU(), torch.nn.LayerNorm(384)
    # What random numbers come of a seed depends on the path too.
    torch.save((torch.nn.Sequential(*layers).state_dict(), torch.randn(16, 512)), tmp_path / "net")
    code = textwrap.dedent(ISA.format(trace=trace))
    paths = "default", torch.backends.cpu.get_cpu_capability().lower()
    for path in paths:
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "net", tmp_path / path],
            env={**os.environ, "ATEN_CPU_CAPABILITY": path},
            check=True,
            timeout=300,
        )
    found = diff(*(tmp_path / f"{path}.tnr" for path in paths))
    differ = [line for line in found.differ if line != "trace"]
    assert differ[:2] == ["outputs", "cpu.capability"]
    before, after = (path.upper() for path in paths)
    assert f"cpu.capability {before} → {after}" in str(found)
    assert "build" not in found.differ
    assert "weights" in found.same and "inputs" in found.same
