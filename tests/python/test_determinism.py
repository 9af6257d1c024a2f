"""The determinism scope sets every deterministic setting torch has, and always puts it back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch.nn.attention import SDPBackend  # noqa: E402

from torchnotary import _libtorch  # noqa: E402
from torchnotary.determinism import determinism_scope, settings_in_force  # noqa: E402
from torchnotary.errors import NotaryError  # noqa: E402

C, backends, cuda = torch._C, torch.backends, torch.backends.cuda
matmul = cuda.matmul


def precision(backend, operator):
    return partial(C._set_fp32_precision_setter, backend, operator)


def reduction(dtype, *, split_k):
    """A setter of one of the two switches that cuBLAS keeps in one option for a dtype."""
    name = f"allow_{dtype}_reduced_precision_reduction"

    def write(value):
        if split_k:
            setattr(matmul, name, (False, value))
        else:
            setattr(matmul, name, (value, True))

    return write


def inductor(value):
    import torch._inductor.config as config

    config.deterministic = value


def computes_in_fp16():
    """Whether torch lets this CPU sum in half precision; it refuses where the CPU cannot."""
    set_reduction = C._set_cpu_allow_fp16_reduced_precision_reduction
    try:
        set_reduction(True)
    except RuntimeError:
        return False
    set_reduction(False)
    return True


# Each setting of the scope: how a user sets it, and every value it can have before a scope.
SETTINGS = {
    "deterministic_algorithms": (torch.use_deterministic_algorithms, (False, True)),
    "deterministic_algorithms_warn_only": (
        lambda value: torch.use_deterministic_algorithms(True, warn_only=value),
        (False, True),
    ),
    "fill_uninitialized_memory": (
        partial(setattr, torch.utils.deterministic, "fill_uninitialized_memory"),
        (True, False),
    ),
    "cudnn_deterministic": (partial(setattr, backends.cudnn, "deterministic"), (False, True)),
    "cudnn_benchmark": (partial(setattr, backends.cudnn, "benchmark"), (False, True)),
    "mkldnn_deterministic": (partial(setattr, backends.mkldnn, "deterministic"), (False, True)),
    "cublas_fp16_reduced_precision": (reduction("fp16", split_k=False), (True, False)),
    "cublas_fp16_split_k": (reduction("fp16", split_k=True), (True, False)),
    "cublas_bf16_reduced_precision": (reduction("bf16", split_k=False), (True, False)),
    "cublas_bf16_split_k": (reduction("bf16", split_k=True), (True, False)),
    "cublas_fp16_accumulation": (
        partial(setattr, matmul, "allow_fp16_accumulation"),
        (False, True),
    ),
    "cpu_fp16_reduced_precision": (
        C._set_cpu_allow_fp16_reduced_precision_reduction,
        (False, True) if computes_in_fp16() else (False,),
    ),
    "sdp_math": (cuda.enable_math_sdp, (True, False)),
    "sdp_flash": (cuda.enable_flash_sdp, (True, False)),
    "sdp_flash3": (C._set_sdp_use_fa3, (False, True)),
    "sdp_mem_efficient": (cuda.enable_mem_efficient_sdp, (True, False)),
    "sdp_cudnn": (cuda.enable_cudnn_sdp, (True, False)),
    "sdp_overrideable": (C._set_sdp_use_overrideable, (True, False)),
    "sdp_math_reduced_precision": (cuda.allow_fp16_bf16_reduction_math_sdp, (False, True)),
    "fp32_precision": (precision("generic", "all"), ("none", "ieee", "tf32", "bf16")),
    "fp32_precision_cuda": (precision("cuda", "all"), ("none", "ieee", "tf32")),
    "fp32_precision_cuda_conv": (precision("cuda", "conv"), ("tf32", "ieee", "none")),
    "fp32_precision_cuda_matmul": (precision("cuda", "matmul"), ("none", "ieee", "tf32")),
    "fp32_precision_cuda_rnn": (precision("cuda", "rnn"), ("tf32", "ieee", "none")),
    "fp32_precision_mkldnn": (precision("mkldnn", "all"), ("none", "ieee", "tf32", "bf16")),
    "fp32_precision_mkldnn_conv": (precision("mkldnn", "conv"), ("none", "ieee", "bf16")),
    "fp32_precision_mkldnn_matmul": (precision("mkldnn", "matmul"), ("none", "ieee", "bf16")),
    "fp32_precision_mkldnn_rnn": (precision("mkldnn", "rnn"), ("none", "ieee", "bf16")),
    "float32_matmul_precision": (
        torch.set_float32_matmul_precision,
        ("highest", "high", "medium"),
    ),
    "cudnn_allow_tf32": (partial(setattr, backends.cudnn, "allow_tf32"), (True, False)),
    "threads": (torch.set_num_threads, (1, 2, 3)),
    "flush_denormal": (torch.set_flush_denormal, (False, True)),
    "inductor_deterministic": (inductor, (False, True)),
}
# Can only be read, and only be false, without an Intel GPU.
READ_ONLY_HERE = {"mkldnn_allow_tf32"}
WANTED = {
    "deterministic_algorithms": True,
    "fill_uninitialized_memory": True,
    "cudnn_deterministic": True,
    "mkldnn_deterministic": True,
    "cublas_fp16_split_k": True,
    "cublas_bf16_split_k": True,
    "sdp_math": True,
    "float32_matmul_precision": "highest",
    "inductor_deterministic": True,
    **{name: "ieee" for name in SETTINGS if name.startswith("fp32_precision")},
}
CASES = [(name, value) for name, (_, values) in SETTINGS.items() for value in values]
# Of each setting a value that a scope has to change, where this machine lets it have one.
CHANGED = [
    (name, [value for value in values if value != WANTED.get(name, False)][-1])
    for name, (_, values) in SETTINGS.items()
    if values != (WANTED.get(name, False),)
]


def everything():
    return {**settings_in_force(), "threads": torch.get_num_threads()}


def reset():
    """torch's settings as a fresh process has them (cuDNN's "tf32" is explicit from then on)."""
    for write, values in SETTINGS.values():
        write(values[0])
    torch.use_deterministic_algorithms(False)
    backends.cudnn.allow_tf32 = True


@pytest.fixture(autouse=True, scope="module")
def as_many_threads_after_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fresh_settings():
    reset()
    yield
    reset()


class Boom(Exception):
    pass


def normally(check):
    with determinism_scope():
        check()


def by_an_exception(check):
    with pytest.raises(Boom), determinism_scope():
        check()
        raise Boom


def by_return(check):
    def call():
        with determinism_scope():
            check()
            return 1

    assert call() == 1


def nested(check):
    with determinism_scope():
        with determinism_scope():
            check()
        check()


def by_an_exception_in_a_nested_scope(check):
    with determinism_scope():
        with pytest.raises(Boom), determinism_scope():
            check()
            raise Boom
        check()


def by_closing_a_generator(check):
    def generate():
        with determinism_scope():
            yield

    generator = generate()
    next(generator)
    check()
    generator.close()


def by_dropping_a_generator(check):
    def generate():
        with determinism_scope():
            yield

    generator = generate()
    next(generator)
    check()
    del generator


def without_leaving(check):
    scope = _libtorch.load().DeterminismScope()
    check(but={"inductor_deterministic"})
    del scope


def interleaved_tasks_of_one_thread(check):
    first, second = determinism_scope(), determinism_scope()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    check()
    second.__exit__(None, None, None)


def overlapping_on_two_threads(check):
    entered, finish = threading.Event(), threading.Event()
    failures = []

    def other():
        try:
            with determinism_scope():
                entered.set()
                assert finish.wait(30)
        except BaseException as error:
            failures.append(error)
            entered.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(30)
    with determinism_scope():
        finish.set()  # the first scope in is the first out
        thread.join()
        check()
    assert not failures


WAYS = [
    normally,
    by_an_exception,
    by_return,
    nested,
    by_an_exception_in_a_nested_scope,
    by_closing_a_generator,
    by_dropping_a_generator,
    without_leaving,
    interleaved_tasks_of_one_thread,
    overlapping_on_two_threads,
]


@pytest.mark.parametrize(("name", "value"), CASES, ids=str)
def test_every_value_of_a_setting_is_replaced_inside_and_restored_after(name, value):
    enter_and_leave(name, value, normally)


@pytest.mark.parametrize("way_out", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("name", "value"), CHANGED, ids=str)
def test_every_setting_is_set_inside_and_restored_on_every_way_out(name, value, way_out):
    enter_and_leave(name, value, way_out)


def enter_and_leave(name, value, way_out):
    SETTINGS[name][0](value)
    before = everything()
    assert before[name] == value
    checked = []

    def check(but=frozenset()):
        inside = everything()
        for setting in SETTINGS.keys() - {"threads"} - but:
            assert inside[setting] == WANTED.get(setting, False), setting
        assert inside["threads"] == before["threads"]
        checked.append(True)

    way_out(check)
    assert checked
    assert everything() == before


@pytest.mark.parametrize(("name", "value"), CASES, ids=str)
def test_a_setting_changed_inside_is_put_back_too(name, value):
    before = everything()
    with determinism_scope():
        SETTINGS[name][0](value)
        inherited = value == "none" and name != "fp32_precision"
        assert everything()[name] == ("ieee" if inherited else value)
    assert everything() == before


def test_the_report_names_every_setting_with_both_values():
    backends.cudnn.benchmark = True
    before = everything()
    with determinism_scope() as report:
        inside = everything()
    assert set(report) == SETTINGS.keys() | READ_ONLY_HERE
    for name, values in report.items():
        assert values == {"before": before[name], "set": inside[name]}, name
    assert report["cudnn_benchmark"] == {"before": True, "set": False}
    assert json.loads(json.dumps(report)) == report


def test_a_new_torch_has_no_setting_that_nobody_looked_at():
    """Setters of torch._C by the words that determinism is about; a new one must be classified."""
    words = ("deterministic", "cudnn", "cublas", "mkldnn", "onednn", "sdp", "precision", "tf32")
    found = {
        name for name in dir(C) if name.startswith("_set_") and any(word in name for word in words)
    }
    chooses_a_library = {"_set_cudnn_enabled", "_set_mkldnn_enabled", "_set_cudnn_depthwise_kernel"}
    reads_as_another = {"_set_cublas_allow_tf32"}  # float32_matmul_precision
    orders_what_is_off = {"_set_sdp_priority_order"}
    assert found - chooses_a_library - reads_as_another - orders_what_is_off == {
        "_set_cpu_allow_fp16_reduced_precision_reduction",
        "_set_cublas_allow_bf16_reduced_precision_reduction",
        "_set_cublas_allow_fp16_accumulation",
        "_set_cublas_allow_fp16_reduced_precision_reduction",
        "_set_cudnn_allow_tf32",
        "_set_cudnn_benchmark",
        "_set_cudnn_deterministic",
        "_set_deterministic_algorithms",
        "_set_deterministic_fill_uninitialized_memory",
        "_set_float32_matmul_precision",
        "_set_fp32_precision_setter",
        "_set_math_sdp_allow_fp16_bf16_reduction",
        "_set_mkldnn_deterministic",
        "_set_onednn_allow_tf32",
        "_set_sdp_use_cudnn",
        "_set_sdp_use_fa3",
        "_set_sdp_use_flash",
        "_set_sdp_use_math",
        "_set_sdp_use_mem_efficient",
        "_set_sdp_use_overrideable",
    }


# Effects


def test_a_nondeterministic_operator_raises_inside_only():
    def put():
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

    put()
    with determinism_scope(), pytest.raises(RuntimeError, match="deterministic"):
        put()
    put()


def test_uninitialised_memory_is_filled_inside():
    torch.utils.deterministic.fill_uninitialized_memory = False
    with determinism_scope():
        assert torch.empty(1000).isnan().all()
        assert (torch.empty(1000, dtype=torch.int32) == torch.iinfo(torch.int32).max).all()


def test_attention_takes_the_math_path_inside():
    q = torch.zeros(1, 1, 4, 8)
    assert torch._fused_sdp_choice(q, q, q) == SDPBackend.FLASH_ATTENTION.value
    with determinism_scope():
        assert torch._fused_sdp_choice(q, q, q) == SDPBackend.MATH.value
    assert torch._fused_sdp_choice(q, q, q) == SDPBackend.FLASH_ATTENTION.value


def test_torchs_own_getters_and_context_managers_work_inside():
    with determinism_scope():
        assert not backends.cudnn.allow_tf32
        assert not matmul.allow_tf32
        assert torch.get_float32_matmul_precision() == "highest"
        with backends.cudnn.flags(enabled=False):
            assert not backends.cudnn.enabled
        with torch.nn.attention.sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            assert cuda.flash_sdp_enabled()
        assert not cuda.flash_sdp_enabled()


# float32 precision: two interfaces of torch over one inherited state


def test_a_fresh_process_keeps_its_unset_precisions():
    """cuDNN starts with a precision that follows `torch.backends.fp32_precision`, until set."""
    code = (
        "import torch\n"
        "from torchnotary.determinism import determinism_scope\n"
        "with determinism_scope(): pass\n"
        "print(torch.backends.cudnn.conv.fp32_precision, end=' ')\n"
        "torch.backends.fp32_precision = 'ieee'\n"
        "print(torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision)\n"
    )
    assert run_python(code) == "tf32 ieee ieee"


def test_a_precision_that_was_inherited_is_inherited_again():
    C._set_fp32_precision_setter("cuda", "matmul", "none")
    C._set_fp32_precision_setter("cuda", "all", "tf32")
    with determinism_scope():
        pass
    assert settings_in_force()["fp32_precision_cuda_matmul"] == "tf32"
    C._set_fp32_precision_setter("cuda", "all", "ieee")
    assert settings_in_force()["fp32_precision_cuda_matmul"] == "ieee"


def test_mixed_precision_interfaces_read_as_mixed_and_come_back_mixed():
    torch.set_float32_matmul_precision("high")
    matmul.fp32_precision = "ieee"
    backends.cudnn.conv.fp32_precision = "ieee"
    before = everything()
    assert before["cudnn_allow_tf32"] == "mixed"
    with determinism_scope() as report:
        assert torch.get_float32_matmul_precision() == "highest"
        assert not backends.cudnn.allow_tf32
    assert report["cudnn_allow_tf32"] == {"before": "mixed", "set": False}
    assert everything() == before
    matmul.fp32_precision = "tf32"
    assert torch.get_float32_matmul_precision() == "high"


# Threads


def test_a_number_of_threads_is_set_and_restored():
    torch.set_num_threads(2)
    with determinism_scope(threads=1) as report:
        assert torch.get_num_threads() == 1
    assert report["threads"] == {"before": 2, "set": 1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("threads", [0, -1, 1_000_000_000])
def test_an_impossible_number_of_threads_restores_what_was_already_set(threads):
    before = everything()
    with pytest.raises(NotaryError, match=f"got {threads}"), determinism_scope(threads=threads):
        pytest.fail("the block ran")
    assert everything() == before


def test_scopes_that_want_different_numbers_of_threads_do_not_overlap():
    torch.set_num_threads(2)
    before = everything()
    with determinism_scope(threads=1):
        inside = everything()
        with pytest.raises(NotaryError, match="expected 1 threads, got 2 threads"):
            with determinism_scope(threads=2):
                pytest.fail("the block ran")
        failures = []

        def other():
            try:
                with determinism_scope(threads=2):
                    pass
            except NotaryError as error:
                failures.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(failures) == 1 and failures[0].next_step
        with determinism_scope(threads=1), determinism_scope():
            assert torch.get_num_threads() == 1
        assert everything() == inside
    assert everything() == before


def test_many_threads_in_and_out_at_once_restore_everything():
    before = everything()
    failures = []

    def work():
        try:
            for _ in range(50):
                with determinism_scope():
                    assert torch.are_deterministic_algorithms_enabled()
                    assert not backends.cudnn.allow_tf32
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert everything() == before


def test_interleaved_coroutines_share_the_settings():
    before = everything()

    async def call(delay):
        with determinism_scope():
            await asyncio.sleep(delay)
            assert torch.are_deterministic_algorithms_enabled()
            assert settings_in_force()["inductor_deterministic"]

    async def calls():
        await asyncio.gather(*(call(delay / 1000) for delay in (3, 1, 2)))

    asyncio.run(calls())
    assert everything() == before


def leave_on_another_thread(scope):
    errors = []

    def leave():
        try:
            scope.leave()
        except NotaryError as error:
            errors.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    return errors


def test_a_scope_may_end_on_another_thread_where_threads_and_denormals_did_not_change():
    before = everything()
    scope = _libtorch.load().DeterminismScope()
    assert not leave_on_another_thread(scope)
    assert everything() == before


def test_a_scope_that_ends_on_another_thread_says_what_it_could_not_restore():
    torch.set_num_threads(2)
    scope = _libtorch.load().DeterminismScope(threads=1)
    (error,) = leave_on_another_thread(scope)
    assert "another thread" in str(error) and error.next_step
    assert not torch.are_deterministic_algorithms_enabled()
    scope.leave()  # a second time: nothing


# Denormals: a mode of each thread


def on_a_fresh_thread(work):
    """Runs work() on a thread of its own, whose intra-op workers start with its denormal mode."""
    failures = []

    def body():
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def halves_that_keep_denormals(denormals):
    """For each half of a large elementwise product, whether its denormals survived."""
    return [bool((half != 0).all()) for half in (denormals * 1.0).view(torch.int32).chunk(2)]


def test_denormals_are_kept_on_every_worker_and_flushed_again_after():
    denormals = torch.full((1 << 22,), 1000, dtype=torch.int32).view(torch.float32)

    def work():
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        assert halves_that_keep_denormals(denormals) == [False, False]
        with determinism_scope() as report:
            assert halves_that_keep_denormals(denormals) == [True, True]
        assert report["flush_denormal"] == {"before": True, "set": False}
        assert halves_that_keep_denormals(denormals) == [False, False]

    on_a_fresh_thread(work)


def test_a_worker_that_flushes_under_a_caller_that_does_not_is_found():
    denormals = torch.full((1 << 22,), 1000, dtype=torch.int32).view(torch.float32)

    def work():
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        halves_that_keep_denormals(denormals)  # starts the worker, which flushes from then on
        torch.set_flush_denormal(False)
        assert halves_that_keep_denormals(denormals) == [True, False]
        with determinism_scope() as report:
            assert halves_that_keep_denormals(denormals) == [True, True]
        assert report["flush_denormal"]["before"] is True
        assert halves_that_keep_denormals(denormals) == [True, False]

    on_a_fresh_thread(work)


# Reading


def test_reading_the_settings_gives_plain_values_and_changes_nothing():
    first, second = settings_in_force(), settings_in_force()
    assert first == second
    assert {type(value) for value in first.values()} <= {bool, int, str}


def test_reading_follows_what_is_not_a_determinism_setting_but_changes_results():
    before = settings_in_force()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        backends.mkldnn.enabled = False
        try:
            inside = settings_in_force()
        finally:
            backends.mkldnn.enabled = True
    changed = {name: inside[name] for name in inside if inside[name] != before[name]}
    expected = {"autocast_cpu": "bfloat16", "inference_mode": True, "mkldnn_enabled": False}
    assert {name: changed[name] for name in expected} == expected
    assert settings_in_force()["autocast_cpu"] == "off"


def test_reading_needs_no_extension_of_ours():
    code = (
        "import sys, torch\n"
        "sys.modules['torchnotary._torch'] = None\n"
        "from torchnotary.determinism import settings_in_force\n"
        "print(settings_in_force()['deterministic_algorithms'])\n"
        "assert sys.modules['torchnotary._torch'] is None\n"
        "assert 'torch._inductor' not in sys.modules\n"
    )
    assert run_python(code) == "False"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
