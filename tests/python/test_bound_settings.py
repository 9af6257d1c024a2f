"""Whatever changes a result is bound: a changed setting is named by ``diff``, and nothing else."""

from __future__ import annotations

import functools
from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import torchnotary
from torchnotary import _libtorch, determinism
from torchnotary.capture import environment, surroundings
from torchnotary.exact import exact_scope


class Watching(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Looking(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def hook(module, args, output=None):
    return None


@contextmanager
def registered(register):
    handle = register(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def called_by_another():
    plain = torch.nn.Module.__call__

    @functools.wraps(plain)  # which gives it the name of what it wraps
    def another_call(*args, **kwargs):
        return plain(*args, **kwargs)

    torch.nn.Module.__call__ = another_call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = plain


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


HERE = __name__
modules = torch.nn.modules.module
CHANGES = {
    "autocast_cpu off → bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "grad_enabled on → off": torch.no_grad,
    "default_dtype float32 → float64": default_dtype,
    "mkldnn_enabled on → off": lambda: torch.backends.mkldnn.flags(enabled=False),
    f"interposed.function_modes absent → {HERE}.Watching": Watching,
    f"interposed.dispatch_modes absent → {HERE}.Looking": Looking,
    f"interposed.forward_hooks absent → {HERE}.hook": lambda: registered(
        modules.register_module_forward_hook
    ),
    f"interposed.forward_pre_hooks absent → {HERE}.hook": lambda: registered(
        modules.register_module_forward_pre_hook
    ),
    "interposed.module_call absent → another_call": called_by_another,
}


@pytest.fixture
def twice(notary):
    """The record of a call as things are, and of the same one inside a block."""
    model = torch.nn.ReLU().eval()

    def records(block):
        call = notary.record(lambda x: model(x), model=torch.nn.Linear(2, 2))
        call(torch.ones(2))
        before = notary.last
        with block:
            call(torch.ones(2))
        return before, notary.last

    return records


@pytest.mark.parametrize("change", CHANGES, ids=lambda text: text.split()[0])
def test_a_changed_setting_is_the_one_that_diff_names(twice, change):
    said = torchnotary.diff(*twice(CHANGES[change]())).settings
    name, _, values = change.partition(" ")
    assert len(said) == 1 and said[0].name == name
    assert str(said[0]).endswith(values.rpartition(" ")[2])


def test_the_thread_count_is_named(twice):
    said = torchnotary.diff(*twice(threads())).settings
    assert [change.name for change in said] == ["threads"]


def test_hooks_and_modes_are_not_interposed_by_recording_itself(notary):
    with notary:
        torch.nn.Linear(2, 2).eval()(torch.ones(2))
    assert notary.last.predicate["execution"]["interposed"] == {}


@pytest.fixture
def fresh_environment(monkeypatch):
    for name in environment.NAMES:
        monkeypatch.delenv(name, raising=False)

    def forget():
        environment.environment.cache_clear()
        surroundings.machine.cache_clear()

    forget()
    yield forget
    forget()


def test_environment_variables_that_libraries_read_are_bound_and_named(
    notary, monkeypatch, fresh_environment
):
    call = notary.record(lambda x: x)
    call(torch.ones(1))
    before = notary.last
    assert before.predicate["execution"]["environment"] == {}
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("TORCH_HOME", "/home/somebody")
    monkeypatch.setenv("OMP_TOKEN", "secret")
    fresh_environment()  # as a process begun with them has it
    call(torch.ones(1))
    assert notary.last.predicate["execution"]["environment"] == {"MKL_CBWR": "COMPATIBLE"}
    said = torchnotary.diff(before, notary.last).settings
    assert list(map(str, said)) == ["environment.MKL_CBWR absent → COMPATIBLE"]


def test_a_variable_set_after_it_was_read_shows_as_changed(notary, monkeypatch, fresh_environment):
    call = notary.record(lambda x: x)
    call(torch.ones(1))
    before = notary.last
    notary.flush()  # the environment is read where the record is made
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    call(torch.ones(1))
    assert before.predicate["execution"]["environment_changed"] is False
    assert notary.last.predicate["execution"]["environment_changed"] is True
    said = torchnotary.diff(before, notary.last).settings
    assert [change.name for change in said] == ["environment_changed"]


def test_the_libraries_torch_calls_are_bound_with_their_versions(notary):
    notary.record(lambda: 1)()
    found = notary.last.predicate["execution"]["libraries"]
    told = torch.__config__.parallel_info()
    assert found["parallel"] == "OpenMP" and all(text in told for text in found.values())


def changed(read, write, value):
    """A block in which a setting has another value, through torch's own getter and setter."""

    @contextmanager
    def block():
        before = read()
        write(value)
        try:
            yield
        finally:
            write(before)

    return block


backends = torch.backends
# What the determinism scope does not set; test_determinism.py has the rest.
OTHER_SETTINGS = {
    "cudnn_enabled": changed(torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled, False),
    "cudnn_depthwise_kernel": changed(
        torch._C._get_cudnn_depthwise_kernel, torch._C._set_cudnn_depthwise_kernel, "cudnn"
    ),
    "miopen_immediate": changed(
        torch._C._get_miopen_immediate, torch._C._set_miopen_immediate, True
    ),
    "mkldnn_enabled": changed(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
    "nnpack_enabled": changed(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, False),
    "quantized_engine": changed(torch._C._get_qengine, torch._C._set_qengine, 3),
    "sdp_priority": changed(
        torch._C._get_sdp_priority_order, torch._C._set_sdp_priority_order, [1, 0, 2, 3, 4]
    ),
    "mha_fastpath": changed(
        backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled, False
    ),
    "flush_denormal": changed(lambda: False, torch.set_flush_denormal, True),
    "default_dtype": default_dtype,
    "grad_enabled": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast_cpu": lambda: torch.autocast("cpu"),
    "autocast_cuda": changed(
        lambda: torch.is_autocast_enabled("cuda"),
        lambda on: torch.set_autocast_enabled("cuda", on),
        True,
    ),
}


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_a_change_of_a_setting_is_noticed_at_once(name):
    _libtorch.load()
    before = determinism.settings_in_force()
    assert determinism.settings_in_force() is before  # known, not read again
    with OTHER_SETTINGS[name]():
        assert determinism.settings_in_force()[name] != before[name]
        assert determinism.settings_in_force() == determinism._read_all()
    assert determinism.settings_in_force() == before


def test_a_thread_under_exact_reads_what_the_user_set():
    _libtorch.load()
    determinism._known.clear()  # else what was read before is given again
    with exact_scope():
        inside = determinism.settings_in_force()
    assert inside["mha_fastpath"] is True
    assert inside == determinism.settings_in_force() == determinism._read_all()
