"""Calls recorded under exact/1, and run again under other conditions."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch")

import torchnotary as tn  # noqa: E402
from torchnotary import _core, _libtorch  # noqa: E402
from torchnotary.errors import NotExact  # noqa: E402
from torchnotary.exact import exact_scope  # noqa: E402
from torchnotary.sealing import is_sealed  # noqa: E402

if _libtorch.available() is None:
    pytest.skip("_torch is not built for this torch", allow_module_level=True)


class Rotary(torch.nn.Module):
    """Attention over (batch, tokens, 32) with a table that no state dict has."""

    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(32, 96)
        self.out = torch.nn.Linear(32, 32)
        table = 1.0 / (100.0 ** (torch.arange(0, 32, 2) / 32))
        self.register_buffer("table", table, persistent=False)

    def forward(self, x):
        angle = torch.arange(x.shape[1])[:, None] * self.table.repeat(2)
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = (q * angle.cos()), (k * angle.sin())
        y = torch.nn.functional.scaled_dot_product_attention(*(t[:, None] for t in (q, k, v)))
        return self.out(torch.nn.functional.gelu(y[:, 0]))


@pytest.fixture
def notary(tmp_path):
    notary = tn.Notary(tmp_path / "log", profile="exact/1", evidence="full")
    yield notary
    notary.close()


@pytest.fixture
def rotary():
    torch.manual_seed(0)
    return Rotary().eval().requires_grad_(False)


def test_an_attached_model_is_sealed_and_packed_and_gives_ordinary_tensors(notary, rotary):
    before = _libtorch.load().packed_bytes()
    notary.attach(rotary)
    assert is_sealed([*rotary.parameters(), *rotary.buffers()])
    assert _libtorch.load().packed_bytes() >= before + 4 * (96 * 32 + 32 * 32)
    y = rotary(torch.ones(2, 3, 32))
    y[0] += 1
    execution = notary.last.predicate["execution"]
    assert execution["profile"] == "exact/1" and notary.last.predicate["model"]["sealed"]
    notary.detach(rotary)
    assert not is_sealed(rotary.parameters())


def test_a_decorated_function_seals_the_model_it_names_at_its_first_call(notary, rotary):
    score = notary.record(lambda x: rotary(x))
    score(torch.ones(1, 2, 32))
    assert is_sealed(rotary.parameters())


def test_batch_and_threads_change_no_bit(notary, rotary, tmp_path):
    torch.manual_seed(1)
    x = torch.randn(5, 7, 32)
    score = notary.record(lambda x: rotary(x), model=rotary)
    score(x)
    notary.last.save(tmp_path / "run.tnr")
    other = Rotary().eval().requires_grad_(False)
    other.load_state_dict(rotary.state_dict())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = tn.reproduce(
            tmp_path / "run.tnr",
            lambda x: torch.cat([other(each[None]) for each in x]),
            model=other,
        )
    finally:
        torch.set_num_threads(threads)
    assert again.outcome == "bitwise", str(again)


def test_a_native_run_of_an_exact_record_would_have_other_bits(notary, rotary):
    """What the tests above show is the profile's doing."""
    torch.manual_seed(1)
    x = torch.randn(5, 7, 32)
    exact = notary.record(lambda x: rotary(x), model=rotary)(x)
    assert not torch.equal(exact, rotary(x))
    assert torch.allclose(exact, rotary(x), atol=1e-5)


def test_buffers_no_state_dict_has_are_put_back_to_reproduce(notary, rotary):
    x = torch.linspace(-1, 1, 2 * 7 * 32).reshape(2, 7, 32)
    notary.record(lambda x: rotary(x), model=rotary)(x)
    record = notary.last
    assert record.id  # durable
    elsewhere = Rotary().eval().requires_grad_(False)  # as another CPU's pow would have made it
    elsewhere.load_state_dict(rotary.state_dict())
    elsewhere.table = torch.nextafter(elsewhere.table, torch.tensor(9.0))
    theirs = elsewhere.table
    again = tn.reproduce(record, lambda x: elsewhere(x), model=elsewhere)
    assert again.outcome == "bitwise", str(again)
    assert elsewhere.table is theirs


def test_a_tensor_replaced_after_sealing_is_refused_by_name(notary, rotary):
    notary.attach(rotary)
    rotary(torch.ones(1, 2, 32))
    rotary.out.weight = torch.nn.Parameter(rotary.out.weight + 1, requires_grad=False)
    with pytest.raises(NotExact, match=r"out\.weight.*notary\.attach"):
        rotary(torch.ones(1, 2, 32))


def test_what_the_profile_does_not_have_is_refused_in_the_call_and_recorded_as_raised(notary):
    class Draws(torch.nn.Module):
        def forward(self, x):
            return x + torch.rand(2)

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Draws()).eval().requires_grad_(False)
    notary.attach(model)
    with pytest.raises(NotExact, match=r"aten::rand.*in 1, .*Draws"):
        model(torch.ones(1, 2))
    assert notary.last.predicate["execution"]["outcome"]["status"] == "raised"


def test_a_call_that_cannot_be_recorded_raises_rather_than_run_otherwise(notary, rotary):
    notary.attach(rotary)
    notary.close()
    with pytest.raises(tn.NotaryError, match="closed"):
        rotary(torch.ones(1, 2, 32))


def test_a_compiled_model_runs_as_it_was_written(notary, rotary):
    x = torch.linspace(-1, 1, 64).reshape(1, 2, 32)
    compiled = torch.compile(rotary, backend="eager")
    compiled(x)
    exact = notary.record(lambda x: compiled(x), model=rotary)(x)
    with exact_scope():
        assert torch.equal(exact, rotary(x))


def test_dropout_in_evaluation_does_nothing_in_place_too():
    x = torch.ones(3)
    with exact_scope():
        assert torch.nn.functional.dropout(x, 0.5, training=False, inplace=True) is x
    assert x.eq(1).all()


def test_a_thread_that_the_model_starts_is_refused(notary, rotary):
    class Threaded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = rotary

        def forward(self, x):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self.inner, x).result()

    model = Threaded().eval()
    notary.attach(model)
    with pytest.raises(NotExact, match="Rotary was called on a thread without the exact profile"):
        model(torch.ones(1, 2, 32))
    notary.detach(model)
    assert model(torch.ones(1, 2, 32)).shape == (1, 2, 32)


def test_operators_are_traced_as_the_kernels_ran_them(tmp_path, rotary):
    notary = tn.Notary(tmp_path / "log", profile="exact/1", trace="operators")
    notary.attach(rotary)
    rotary(torch.ones(1, 2, 32))
    names = [line["operator"] for line in notary.last.lines("trace.jsonl") if "operator" in line]
    assert names.count("aten::linear") == 2
    assert "aten::scaled_dot_product_attention" in names
    notary.close()


def test_a_record_travels_between_cpu_paths_of_processes(notary, rotary, tmp_path):
    torch.manual_seed(1)
    x = torch.randn(3, 4, 32)
    y = notary.record(lambda x: rotary(x), model=rotary)(x)
    torch.save((rotary.state_dict(), rotary.table, x, y), tmp_path / "run.pt")
    program = """
        import sys, torch
        sys.path.insert(0, sys.argv[2])
        from test_exact_records import Rotary
        from torchnotary.exact import exact_scope, prepare
        state, table, x, y = torch.load(sys.argv[1])
        torch.set_num_threads(3)
        model = Rotary().eval().requires_grad_(False)
        model.load_state_dict(state)
        model.table = table
        prepare(model)
        with exact_scope():
            assert torch.equal(model(x[1:2]), y[1:2])
    """
    better = {"avx512": ["avx2"]}.get(_core.cpu_path(), [])
    for path in ["portable", *better]:
        subprocess.run(
            [
                sys.executable,
                "-c",
                textwrap.dedent(program),
                tmp_path / "run.pt",
                os.path.dirname(__file__),
            ],
            check=True,
            timeout=300,
            env={**os.environ, "TORCHNOTARY_CPU": path},
        )
