"""The settings of torch that decide whether a call repeats: reading them, and setting them all.

A setting has one name here and in the determinism scope (``cpp/torch/context_settings.cpp``).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

from . import _libtorch

Setting = bool | int | str
Report = dict[str, dict[str, Setting]]

_SMALLEST_NORMAL = sys.float_info.min
_readers: tuple[tuple[str, Callable[[], Setting]], ...] | None = None
# Of the settings that live in Python, of which LibTorch's fingerprint says nothing.
_read_fastpath: Callable[[], Any] = bool
_read_einsum: Callable[[], Any] = bool
# What was in force under a fingerprint. A process has few combinations; a loop over many starts
# over.
_known: dict[tuple, dict[str, Setting]] = {}
_MOST_KNOWN = 64


@contextmanager
def determinism_scope(threads: int | None = None) -> Iterator[Report]:
    """Every deterministic setting torch has, inside the block; all restored on every way out.

    ``threads`` is the number of intra-op threads (None: as it is). Yields what was changed: name
    -> {"before": value, "set": value}. Settings belong to the process and are shared by blocks
    that overlap, on one thread or several: the first one in sets, the last one out restores.

    Raises NotaryError if ``_torch`` cannot be loaded, if an open block holds another number of
    threads, or if the block ends on another thread than it began on and that thread's own
    settings (thread count, denormal mode) would have to be changed back.
    """
    extension = _libtorch.load()
    with _deterministic_inductor() as inductor_before:
        scope = extension.DeterminismScope(threads)
        try:
            report = scope.report()
            report["inductor_deterministic"] = {"before": inductor_before, "set": True}
            yield report
        finally:
            scope.leave()


def settings_in_force() -> dict[str, Setting]:
    """Every setting that decides whether this thread's next call repeats, as it is now.

    Needs torch alone, any from 2.4 on, and changes nothing; with ``_torch`` it is a hundred times
    as fast where nothing changed. Strings, booleans and integers only; the dictionary is shared,
    so leave it as it is. A setting this torch does not have is left out; one that torch refuses to
    read, because its older and newer TF32 interfaces were mixed, reads "mixed". The number of
    intra-op threads is not among them: records keep it beside the settings.
    """
    if _readers is None:
        _find_readers()
    extension = _libtorch.available()
    if extension is None:
        return _read_all()
    key = _fingerprint(extension)
    known = _known.get(key)
    if known is None:
        known = _read_all()
        if _fingerprint(extension) == key:  # else another thread changed something meanwhile
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = known
    return known


def _find_readers() -> None:
    global _readers, _read_fastpath, _read_einsum
    import torch

    rows = tuple(row for row in _rows(torch) if _exists(row[1]))
    named = dict(rows)
    _read_fastpath, _read_einsum = (named.get(n, bool) for n in ("mha_fastpath", "einsum_path"))
    _readers = rows


def _read_all() -> dict[str, Setting]:
    return {name: read() for name, read in _readers or ()}


def _fingerprint(extension: ModuleType) -> tuple:
    return (
        extension.settings_fingerprint(),
        _read_fastpath(),
        _read_einsum(),
        _inductor_deterministic(),
    )


Row = tuple[str, Callable[[], Setting]]


def _rows(torch: ModuleType) -> Iterator[Row]:
    """Name and reader of each setting; through the private getter where torch has no other."""
    yield from _algorithm_rows(torch)
    yield from _library_rows(torch)
    yield from _attention_rows(torch)
    yield from _precision_rows(torch)
    yield from _thread_rows(torch)


def _algorithm_rows(torch: ModuleType) -> Iterator[Row]:
    deterministic = torch.utils.deterministic
    yield "deterministic_algorithms", torch.are_deterministic_algorithms_enabled
    yield (
        "deterministic_algorithms_warn_only",
        (torch.is_deterministic_algorithms_warn_only_enabled),
    )
    yield "fill_uninitialized_memory", lambda: deterministic.fill_uninitialized_memory
    yield "inductor_deterministic", _inductor_deterministic


def _library_rows(torch: ModuleType) -> Iterator[Row]:
    C, backends, cuda = torch._C, torch.backends, torch.backends.cuda
    cudnn, mkldnn = backends.cudnn, backends.mkldnn
    yield "cudnn_enabled", lambda: cudnn.enabled
    yield "cudnn_deterministic", lambda: cudnn.deterministic
    yield "cudnn_benchmark", lambda: cudnn.benchmark
    yield "cudnn_depthwise_kernel", lambda: cudnn.depthwise_kernel
    yield "miopen_immediate", lambda: backends.miopen.immediate
    yield "mkldnn_enabled", lambda: mkldnn.enabled
    yield "mkldnn_deterministic", lambda: mkldnn.deterministic
    yield "nnpack_enabled", lambda: C._get_nnpack_enabled()
    yield "quantized_engine", lambda: backends.quantized.engine
    if cuda.is_built():
        yield "blas_library", lambda: cuda.preferred_blas_library().name
        yield "linalg_library", lambda: cuda.preferred_linalg_library().name
    opt_einsum = importlib.import_module("torch.backends.opt_einsum")  # torch imports it lazily
    if opt_einsum.is_available():
        yield "einsum_path", lambda: str(opt_einsum.strategy) if opt_einsum.enabled else "off"


def _attention_rows(torch: ModuleType) -> Iterator[Row]:
    C, cuda, mha = torch._C, torch.backends.cuda, torch.backends.mha
    yield "sdp_math", cuda.math_sdp_enabled
    yield "sdp_flash", cuda.flash_sdp_enabled
    yield "sdp_flash3", lambda: C._get_fa3_sdp_enabled()
    yield "sdp_mem_efficient", cuda.mem_efficient_sdp_enabled
    yield "sdp_cudnn", lambda: cuda.cudnn_sdp_enabled()
    yield "sdp_overrideable", lambda: C._get_overrideable_sdp_enabled()
    yield "sdp_math_reduced_precision", lambda: cuda.fp16_bf16_reduction_math_sdp_allowed()
    yield "sdp_priority", lambda: ",".join(map(str, C._get_sdp_priority_order()))
    yield "mha_fastpath", _fastpath_reader(mha)


def _fastpath_reader(mha: ModuleType) -> Callable[[], Setting]:
    """What the user said, where it can be read: the getter answers for a thread under exact/1."""
    if "_is_fastpath_enabled" in vars(mha):
        return partial(vars(mha).__getitem__, "_is_fastpath_enabled")
    return lambda: mha.get_fastpath_enabled()


def _precision_rows(torch: ModuleType) -> Iterator[Row]:
    C, cudnn, mkldnn = torch._C, torch.backends.cudnn, torch.backends.mkldnn
    for dtype in ("fp16", "bf16"):
        allowed = getattr(C, f"_get_cublas_allow_{dtype}_reduced_precision_reduction")
        if isinstance(allowed(), tuple):  # since torch 2.10: (reduced precision, split-K)
            yield f"cublas_{dtype}_reduced_precision", lambda allowed=allowed: allowed()[0]
            yield f"cublas_{dtype}_split_k", lambda allowed=allowed: allowed()[1]
        else:
            yield f"cublas_{dtype}_reduced_precision", allowed
    yield "cublas_fp16_accumulation", lambda: C._get_cublas_allow_fp16_accumulation()
    yield (
        "cpu_fp16_reduced_precision",
        (lambda: C._get_cpu_allow_fp16_reduced_precision_reduction()),
    )
    yield "fp32_precision", lambda: C._get_fp32_precision_getter("generic", "all")
    for backend in ("cuda", "mkldnn"):
        for operator, suffix in (
            ("all", ""),
            ("conv", "_conv"),
            ("matmul", "_matmul"),
            ("rnn", "_rnn"),
        ):
            yield f"fp32_precision_{backend}{suffix}", _precision_reader(C, backend, operator)
    yield "float32_matmul_precision", _unless_mixed(torch.get_float32_matmul_precision)
    yield "cudnn_allow_tf32", _unless_mixed(lambda: cudnn.allow_tf32)
    yield "mkldnn_allow_tf32", lambda: bool(mkldnn.allow_tf32)  # None without Intel GPUs


def _thread_rows(torch: ModuleType) -> Iterator[Row]:
    yield "default_dtype", lambda: str(torch.get_default_dtype()).removeprefix("torch.")
    yield "grad_enabled", torch.is_grad_enabled
    yield "inference_mode", torch.is_inference_mode_enabled
    for device in ("cpu", "cuda"):
        yield f"autocast_{device}", _autocast_reader(torch, device)
    yield "interop_threads", torch.get_num_interop_threads
    yield "flush_denormal", _flushes_denormals


def _exists(read: Callable[[], Setting]) -> bool:
    try:
        read()
    except AttributeError:
        return False
    return True


def _unless_mixed(read: Callable[[], Setting]) -> Callable[[], Setting]:
    def read_or_say() -> Setting:
        try:
            return read()
        except RuntimeError:
            return "mixed"

    return read_or_say


def _precision_reader(C: Any, backend: str, operator: str) -> Callable[[], Setting]:
    return lambda: C._get_fp32_precision_getter(backend, operator)


def _autocast_reader(torch: ModuleType, device: str) -> Callable[[], Setting]:
    def read() -> Setting:
        if not torch.is_autocast_enabled(device):
            return "off"
        return str(torch.get_autocast_dtype(device)).removeprefix("torch.")

    return read


def _flushes_denormals() -> bool:
    """Whether this thread flushes denormals: torch has no getter, but Python's floats show it."""
    return _SMALLEST_NORMAL * 0.5 == 0.0


def _inductor_deterministic() -> bool:
    """Inductor's setting in this context; False while it is not imported: nothing compiles then."""
    if "torch._inductor.config" not in sys.modules:
        return False
    return bool(getattr(sys.modules["torch._inductor.config"], "deterministic", False))


# Open blocks of this context, and what Inductor's setting was before the first of them. Inductor
# keeps its settings by context (thread, asyncio task), so their blocks are counted by context too.
_inductor_blocks: ContextVar[tuple[int, bool]] = ContextVar("inductor_blocks", default=(0, False))


@contextmanager
def _deterministic_inductor() -> Iterator[bool]:
    """``torch._inductor.config.deterministic``, which torch.use_deterministic_algorithms sets too.

    Yields what it was before. Imports Inductor's settings as that function does (1 s, once): the
    first torch.compile of the process might happen inside the block.
    """
    import torch._inductor.config as config

    count, before = _inductor_blocks.get()
    if count == 0:
        before = config.deterministic
        config.deterministic = True
    _inductor_blocks.set((count + 1, before))
    try:
        yield before
    finally:
        count, before = _inductor_blocks.get()
        if count > 0:  # 0 in another context than the block began in, whose setting is untouched
            _inductor_blocks.set((count - 1, before))
            if count == 1:
                config.deterministic = before
