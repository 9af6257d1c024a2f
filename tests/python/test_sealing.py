"""Sealed models are the models they were, except that nothing can write to them."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
from torch import nn

from torchnotary import Manifest, Notary, NotaryError, UnsupportedTensor, WeightsChanged, sealing

X = torch.arange(24, dtype=torch.float32).reshape(3, 8)


class Net(nn.Module):
    """Tied, viewed, strided, empty, conjugated and inference tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("rows", self.first.weight.data[2:4])
        self.register_buffer("columns", torch.randn(3, 5).t())
        self.register_buffer("empty", torch.empty(0))
        self.register_buffer("conjugate", torch.randn(3, dtype=torch.complex64).conj())
        self.register_buffer("scratch", torch.ones(3), persistent=False)
        with torch.inference_mode():
            self.register_buffer("inferred", torch.ones(3))

    def forward(self, x):
        return self.norm(self.second(self.first(x)))

    def tensors(self):
        return [*self.parameters(), *self.buffers()]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def sealed(net):
    sealing.seal(net)
    return net


def mappings() -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if "memfd:torchnotary" in line]


def run(code: str, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_sealed_model_is_the_same_objects_in_other_memory(net):
    def described(tensor):
        return (
            id(tensor),
            *(tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype),
            *(tensor.requires_grad, tensor.is_conj(), tensor.is_inference(), tensor.is_leaf),
            None if tensor.is_inference() else tensor._version,
        )

    before, manifest = [described(t) for t in net.tensors()], Manifest.of(net)
    addresses = [tensor.data_ptr() for tensor in net.tensors() if tensor.numel()]
    result = net(X)
    sealing.seal(net)
    assert sealing.is_sealed(net.tensors())
    assert [described(tensor) for tensor in net.tensors()] == before
    assert not {t.data_ptr() for t in net.tensors() if t.numel()} & set(addresses)
    assert Manifest.of(net) == manifest
    assert torch.equal(net(X), result)


def test_tied_tensors_stay_tied_and_views_stay_views(sealed):
    weight = sealed.first.weight
    assert sealed.second.weight is weight
    assert sealed.rows.data_ptr() == weight.data_ptr() + 2 * 8 * 4
    assert sealed.rows.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()


def test_tensors_over_one_memory_by_different_storages_share_it_again():
    array = torch.ones(8).numpy()
    net = nn.Module()
    net.register_buffer("a", torch.from_numpy(array))
    net.register_buffer("b", torch.from_numpy(array))
    sealing.seal(net)
    assert net.a.data_ptr() == net.b.data_ptr()


def test_two_thousand_small_tensors_lie_in_one_mapping_aligned_like_torchs():
    before = len(mappings())
    net = nn.ParameterList(nn.Parameter(torch.full((3,), float(i))) for i in range(2000))
    sealing.seal(net)
    assert len(mappings()) == before + 1
    assert all(tensor.data_ptr() % 64 == 0 for tensor in net)
    assert [tensor[0].item() for tensor in net] == list(range(2000))


def test_large_models_are_sealed_piece_by_piece_and_let_go_with_their_tensors():
    gc.collect()
    before = len(mappings())
    net = nn.ParameterList(nn.Parameter(torch.zeros(11 << 20)) for _ in range(3))  # 44 MiB each
    sealing.seal(net)
    assert len(mappings()) == before + 2
    last = net[2]
    del net
    gc.collect()
    assert len(mappings()) == before + 1
    assert last.sum() == 0


def test_sealing_twice_is_sealing_once(sealed):
    addresses = [tensor.data_ptr() for tensor in sealed.tensors()]
    sealing.seal(sealed)
    assert [tensor.data_ptr() for tensor in sealed.tensors()] == addresses


def test_an_operator_that_would_write_raises_and_names_all_tensors_on_that_memory(sealed):
    names = "sealed memory: rows, first.weight, second.weight. Next: .*detach"
    with torch.no_grad(), pytest.raises(NotaryError, match=f"aten::fill_ would write to {names}"):
        sealed.first.weight.fill_(0)
    with pytest.raises(NotaryError, match=f"aten::add_ would write to {names}"):
        sealed.rows.add_(1)
    with torch.inference_mode(), pytest.raises(NotaryError, match="zero_.*: inferred"):
        sealed.inferred.zero_()
    with pytest.raises(NotaryError, match="aten::_foreach_add_ .*: columns"):
        torch._foreach_add_([torch.ones(1), sealed.columns], 1)
    with pytest.raises(NotaryError, match="aten::add .*: columns"):
        torch.add(torch.ones(5, 3), 1, out=sealed.columns)
    with pytest.raises(RuntimeError, match="would write to sealed memory"):
        sealed.load_state_dict(Net().state_dict())  # which collects errors into its own


def test_batch_norm_whose_schema_hides_its_writes_raises_too(sealed):
    norm = sealed.norm
    with pytest.raises(NotaryError, match="aten::native_batch_norm .*: norm.running_mean"):
        nn.functional.batch_norm(X, norm.running_mean, norm.running_var, training=True)
    with pytest.raises(NotaryError, match="aten::add_ .*: norm.num_batches_tracked"):
        sealed.train()(X)
    assert sealed.eval()(X).shape == (3, 8)


def test_an_operator_defined_after_the_last_sealing_is_checked_after_the_next(sealed):
    with torch.library._scoped_library("torchnotary_test", "FRAGMENT") as library:
        library.define("poke(Tensor(a!) x) -> ()")
        library.impl("poke", lambda x: None, "CompositeExplicitAutograd")
        torch.ops.torchnotary_test.poke(sealed.columns)
        sealing.seal(nn.Linear(1, 1))
        with pytest.raises(NotaryError, match="torchnotary_test::poke .*: columns"):
            torch.ops.torchnotary_test.poke(sealed.columns)
        torch.ops.torchnotary_test.poke(torch.ones(1))


def test_a_write_on_another_thread_raises_there(sealed):
    errors = []

    def write():
        try:
            sealed.columns.zero_()
        except NotaryError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_gradients_flow_to_sealed_parameters_and_an_optimizer_cannot_step(sealed):
    plain = copy.deepcopy(sealed)
    for net in (sealed, plain):
        net(X).square().sum().backward()
    assert torch.equal(sealed.first.weight.grad, plain.first.weight.grad)
    for optimizer in (torch.optim.SGD, torch.optim.AdamW):
        with pytest.raises(NotaryError, match="sealed memory: rows, first.weight"):
            optimizer(sealed.parameters(), lr=0.1).step()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "transform",
    [
        lambda net: torch.compile(net, backend="aot_eager"),
        lambda net: torch.jit.trace(net, X),
        lambda net: torch.export.export(net, (X,)).module(),
        lambda net: lambda x: torch.func.functional_call(net, dict(net.named_parameters()), x),
        lambda net: lambda x: torch.func.vmap(net)(x[:, None])[:, 0],
    ],
    ids=["compile", "trace", "export", "functional_call", "vmap"],
)
def test_a_sealed_model_computes_what_it_did(sealed, transform):
    plain = copy.deepcopy(sealed)
    with torch.no_grad():
        assert torch.equal(transform(sealed)(X), plain(X))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(sealed(X), plain(X))


def test_a_sealed_minilm_computes_what_it_did(minilm):
    sealed, ids = copy.deepcopy(minilm), torch.arange(1000, 1032).reshape(2, 16)
    sealing.seal(sealed)
    with torch.inference_mode():
        assert torch.equal(sealed(ids).last_hidden_state, minilm(ids).last_hidden_state)


def through_torch_save(net):
    buffer = io.BytesIO()
    torch.save(net, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        through_torch_save,
    ],
    ids=["deepcopy", "pickle", "torch.save"],
)
def test_copies_and_pickles_are_ordinary_writable_models(copied):
    net = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)).eval()
    before = Manifest.of(net)
    sealing.seal(net)
    other = copied(net)
    assert Manifest.of(other) == before
    tensors = [*other.parameters(), *other.buffers()]
    assert not any(sealing.is_sealed([tensor]) for tensor in tensors)
    with torch.no_grad():
        for tensor in tensors:
            tensor.add_(1)
    assert Manifest.of(other) != before and Manifest.of(net) == before


def test_a_model_sent_to_a_spawned_process_is_shared_with_it_until_it_is_sealed_again():
    net = nn.Linear(8, 4).eval()
    sealing.seal(net)
    theirs = pickle.loads(ForkingPickler.dumps(net))
    assert not sealing.is_sealed(net.parameters()) and not sealing.is_sealed(theirs.parameters())
    sealing.seal(net)
    before = Manifest.of(net)
    with torch.no_grad():
        theirs.weight.add_(1)
    assert Manifest.of(net) == before


def test_children_of_fork_share_the_memory_and_cannot_write_it_either():
    done = run("""
        import os, torch, torchnotary
        from torchnotary import sealing
        net = torch.nn.Linear(64, 64)
        sealing.seal(net)
        expected = net.weight.sum().item()

        def mapping():
            address = net.weight.data_ptr()
            for line in open("/proc/self/maps"):
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                if begin <= address < end:
                    return line.split()[1:]

        parents = mapping()
        child = os.fork()
        if child == 0:
            assert mapping() == parents and net.weight.sum().item() == expected
            try:
                with torch.no_grad():
                    net.weight.zero_()
            except torchnotary.NotaryError:
                net.weight.detach().numpy()[0] = 0
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert net.weight.sum().item() == expected
        print(parents[0], "memfd" in parents[-2], os.WTERMSIG(status))
    """)
    assert re.fullmatch(rf"r--[sp] True {int(signal.SIGSEGV)}\n", done.stdout), done


def test_a_write_past_torch_ends_the_process_and_faulthandler_says_where():
    done = run(
        """
        import torch
        from torchnotary import sealing
        net = torch.nn.Linear(64, 64)
        sealing.seal(net)

        def meddle():
            net.weight.detach().numpy()[0] = 0

        meddle()
        """,
        *("-X", "faulthandler"),
    )
    assert done.returncode == -signal.SIGSEGV
    assert 'File "<string>", line 8 in meddle' in done.stderr


@pytest.mark.filterwarnings("ignore:torch.quantize", "ignore:Sparse CSR")
@pytest.mark.parametrize(
    "make, actual",
    [
        (lambda: torch.eye(3).to_sparse(), "a sparse or packed layout"),
        (lambda: torch.ones(3, device="meta"), "a tensor on meta"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8), "a quantised"),
        (lambda: torch.nested.nested_tensor([torch.ones(3)]), "a nested tensor"),
    ],
)
def test_what_cannot_be_sealed_is_refused_by_name_before_anything_moves(notary, make, actual):
    net = nn.Sequential(nn.Linear(8, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net[0].register_buffer("odd", make())
    address = net[0].weight.data_ptr()
    with pytest.raises(UnsupportedTensor, match=f"0.odd cannot be sealed .*got {actual}"):
        notary.attach(net, seal=True)
    assert net[0].weight.data_ptr() == address
    assert "_call_impl" not in vars(net)


def test_memory_that_the_system_does_not_give_leaves_the_model_as_it_was(net):
    address = net.first.weight.data_ptr()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(NotaryError, match="memfd_create failed"):
            sealing.seal(net)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert net.first.weight.data_ptr() == address
    with torch.no_grad():
        net.first.weight.zero_()


def test_what_was_sealed_becomes_ordinary_again_when_a_later_piece_fails(monkeypatch):
    from torchnotary import _libtorch

    net = nn.ParameterList(nn.Parameter(torch.zeros(3)) for _ in range(2))
    extension = _libtorch.load()

    class Failing:
        is_sealed, unseal = extension.is_sealed, extension.unseal

        @staticmethod
        def seal(tensors):
            extension.seal(tensors[:1])
            raise NotaryError("no more memory")

    monkeypatch.setattr(_libtorch, "_loaded", Failing)
    with pytest.raises(NotaryError, match="no more"):
        sealing.seal(net)
    assert not extension.is_sealed(net[0])
    with torch.no_grad():
        net[0].add_(1)


def sections(notary, net, change):
    """The model sections of the records of two calls, with a change between them."""
    with torch.no_grad():
        net(X)
        first = notary.last
        change(net)
        net(X)
    return first.predicate["model"], notary.last.predicate["model"]


@pytest.mark.parametrize("seal", [False, True])
def test_the_record_says_whether_the_model_was_sealed(notary, net, seal):
    notary.attach(net, seal=seal)
    for section in sections(notary, net, lambda net: None):
        assert section["sealed"] is seal and not section["changed"]
        assert section["weights"]["root"] == Manifest.of(net).weights_root


def test_a_model_sealed_after_it_was_recorded_is_sealed_and_unchanged(notary, net):
    notary.attach(net)
    before, after = sections(notary, net, lambda net: notary.attach(net, seal=True))
    assert (before["sealed"], after["sealed"], after["changed"]) == (False, True, False)
    assert before["weights"] == after["weights"]


@pytest.mark.parametrize(
    "move",
    [lambda net: net.share_memory(), lambda net: ForkingPickler.dumps(net), sealing.unseal],
    ids=["share_memory", "spawn", "unseal"],
)
def test_a_model_that_left_its_sealed_memory_is_not_called_sealed(tmp_path, net, move):
    for strict in (False, True):
        notary = Notary(tmp_path / str(strict), strict=strict)
        notary.attach(net, seal=True)
        del net._buffers["conjugate"]  # which torch cannot share
        before, after = sections(notary, net, move)
        assert (before["sealed"], after["sealed"], after["changed"]) == (True, False, False)
        notary.close()
        net = Net().eval()


def test_of_several_models_all_must_be_sealed(notary, net):
    head = nn.Linear(8, 2).eval()
    f = notary.record(lambda x: head(net(x)), model={"net": net, "head": head})
    sealing.seal(net)
    f(X)
    assert not notary.last.predicate["model"]["sealed"]
    sealing.seal(head)
    f(X)
    assert notary.last.predicate["model"]["sealed"]


def test_a_strict_notary_hashes_a_sealed_model_once_and_an_unsealed_one_at_every_call(
    tmp_path, net, monkeypatch
):
    plain, hashed = Manifest.of, []

    def counting(*args, **kwargs):
        hashed.append(args)
        return plain(*args, **kwargs)

    monkeypatch.setattr(Manifest, "of", counting)
    notary = Notary(tmp_path / "log", strict=True)
    other = notary.attach(copy.deepcopy(net))
    notary.attach(net, seal=True)
    counts = []
    for model in (net, other):
        for _ in range(3):
            model(X)
        counts.append(len(hashed))
    notary.close()
    assert counts == [1, 4]


def test_a_strict_notary_refuses_what_replaced_a_sealed_weight(tmp_path, net):
    notary = Notary(tmp_path / "log", strict=True)
    notary.attach(net, seal=True)
    net(X)
    net.half()
    with pytest.raises(WeightsChanged, match="first.weight: moved to other memory"):
        net(X.half())
    notary.close()


def test_detaching_gives_ordinary_tensors_that_share_what_they_shared(notary, net):
    before = Manifest.of(net)
    notary.attach(net, seal=True)
    assert notary.detach(net) is net
    assert Manifest.of(net) == before
    assert not any(sealing.is_sealed([tensor]) for tensor in net.tensors())
    with torch.no_grad():
        net.first.weight.fill_(3)
    assert net.second.weight is net.first.weight and net.rows.eq(3).all()


def test_a_model_stays_sealed_until_the_last_notary_that_sealed_it_detaches(tmp_path, net):
    first, second, third = (Notary(tmp_path / name) for name in "abc")
    for notary, seal in ((first, True), (second, True), (third, False)):
        notary.attach(net, seal=seal)
    for notary, stays in ((third, True), (first, True), (second, False)):
        notary.detach(net)
        assert sealing.is_sealed(net.tensors()) is stays


def test_what_is_not_attached_stays_as_it_is_when_detached(notary, sealed):
    notary.attach(sealed)
    notary.detach(sealed)
    assert sealing.is_sealed(sealed.tensors())


def test_the_legacy_constructors_of_a_sealed_tensor_refuse(sealed):
    with pytest.raises(RuntimeError, match="doesn't correspond to a device"):
        sealed.first.weight.new_tensor([1.0])
    assert sealed.first.weight.new_zeros(2).tolist() == [0, 0]
