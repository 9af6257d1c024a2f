"""The environment variables that decide a result: read by torch and its libraries, none a secret.

They are named one by one. A prefix such as ``TORCH_`` would take in folders (``TORCH_HOME``) and
whatever somebody calls so; these hold numbers and keywords.
"""

from __future__ import annotations

import functools

from .._core import set_variables

# Which kernels run: the instruction set that is chosen, and the paths that are tried first.
_TORCH = (
    "ATEN_CPU_CAPABILITY",
    "PYTORCH_JIT",
    "PYTORCH_MIOPEN_SUGGEST_NHWC",
    "PYTORCH_TENSOREXPR",
    "PYTORCH_TENSOREXPR_FALLBACK",
    "PYTORCH_TUNABLEOP_ENABLED",
    "PYTORCH_TUNABLEOP_TUNING",
    "TORCHDYNAMO_DISABLE",
    "TORCHINDUCTOR_CPP_WRAPPER",
    "TORCHINDUCTOR_DETERMINISTIC",
    "TORCHINDUCTOR_FREEZING",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCH_COMPILE_DISABLE",
    "TORCH_LINEAR_FLATTEN_3D",
    "TORCH_MKLDNN_MATMUL_MIN_DIM",
    "TORCH_MKLDNN_MATMUL_MIN_SIZE",
)
# How many threads share a reduction, and so in which parts it is summed.
_OPENMP = (
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "KMP_DETERMINISTIC_REDUCTION",
    "KMP_FORCE_REDUCTION",
    "KMP_HW_SUBSET",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "OMP_NESTED",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OMP_THREAD_LIMIT",
)
# Which of MKL's and OpenBLAS's code paths, and whether these promise the same bits (MKL_CBWR).
_BLAS = (
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DISABLE_FAST_MM",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_INTERFACE_LAYER",
    "MKL_NUM_STRIPES",
    "MKL_NUM_THREADS",
    "MKL_THREADING_LAYER",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
)
# oneDNN, under its new name and its old one.
_ONEDNN = tuple(
    f"{prefix}_{name}"
    for prefix in ("ONEDNN", "DNNL")
    for name in ("CPU_ISA_HINTS", "DEFAULT_FPMATH_MODE", "MAX_CPU_ISA")
)
# cuBLAS, cuDNN and their like: the workspace, which algorithms, and TF32.
_CUDA = (
    "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_WORKSPACE_CONFIG",
    "MIOPEN_FIND_ENFORCE",
    "MIOPEN_FIND_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_BLAS_PREFER_HIPBLASLT",
    "TORCH_CUDNN_USE_HEURISTIC_MODE_B",
    "TORCH_CUDNN_V8_API_DISABLED",
    "TORCH_LINALG_PREFER_CUSOLVER",
    "TORCH_LINALG_PREFER_HIPSOLVER",
    "TORCH_LINALG_PREFER_MAGMA",
    "TORCH_ROCM_FA_PREFER_CK",
)
# The order in which processes add up; and which variants of libm's functions glibc takes.
_OTHERS = ("GLIBC_TUNABLES", "NCCL_ALGO", "NCCL_PROTO")
NAMES = (*_TORCH, *_OPENMP, *_BLAS, *_ONEDNN, *_CUDA, *_OTHERS)


@functools.lru_cache(maxsize=1)
def environment() -> dict[str, str]:
    """Those of NAMES that are set, with their text, as they were when this was first asked."""
    return _set_now()


def environment_changed() -> bool:
    """Whether any of NAMES is set otherwise than :func:`environment` says. Most libraries read
    theirs once, when they are loaded or first used, and a later change may or may not reach one."""
    return _set_now() != environment()


def _set_now() -> dict[str, str]:
    return {
        name: text.decode("utf-8", "backslashreplace")
        for name, text in set_variables(NAMES).items()
    }
