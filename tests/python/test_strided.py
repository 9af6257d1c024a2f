"""Strided tensors on every code path of the machine, and expanded ones without their memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def _run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,  # what is not refused would be hashed for hours
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", ["portable", "avx2", "avx512", "neon"])
def test_on_every_path_any_strides_of_any_dtype_commit_as_numpy_s_copy(path):
    script = str(Path(__file__).with_name("strided_views.py"))
    said = _run(script, TORCHNOTARY_CPU=path).split()
    assert said in (["used", path], ["lacking", path])
    if path == "portable":
        assert said[0] == "used"


def test_an_expanded_tensor_of_2_to_the_40_elements_is_refused_within_64_mib_of_memory():
    code = """
import re, resource, warnings
import torch
from torchnotary import UnsupportedTensor, commit
from torchnotary.leaves import flatten_output

warnings.simplefilter("ignore")
many = 2**40
zero, index = torch.zeros(1), torch.zeros(1, dtype=torch.int64)
expanded = [
    zero.expand(many),
    zero.expand(2**20, 2**20),
    zero.expand(2**20, 2**20).t(),
    torch.zeros(3, dtype=torch.bool)[1:2].expand(many),
    torch.zeros(1, dtype=torch.complex64).expand(many).conj(),
    torch.sparse_coo_tensor(index.expand(1, many), zero.expand(many), (5,), check_invariants=False),
    torch.sparse_csr_tensor(
        torch.tensor([0, many]), index.expand(many), zero.expand(many), (1, many),
        check_invariants=False,
    ),
]
commit(torch.eye(2)), commit(torch.eye(2).to_sparse()), commit(torch.eye(2).to_sparse_csr())
used = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
try:
    bytearray(65 << 20)
    raise SystemExit("the limit does not bind")
except MemoryError:
    pass
for tensor in expanded:
    try:
        commit(tensor)
    except UnsupportedTensor as error:
        assert "expanded" in str(error) and "Next: " in str(error), error
    else:
        raise SystemExit("committed to")
    assert flatten_output(tensor)[0].kind == "unbound"
print("refused", len(expanded))
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("the limit is set from /proc/self/status, which this machine lacks")
    assert _run("-c", code, OMP_NUM_THREADS="1").split() == ["refused", "7"]
