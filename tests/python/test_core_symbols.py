"""What `_core` is as a file: free of LibTorch, exporting nothing, described by its stub."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import torchnotary
from torchnotary import _core


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
def test_core_uses_no_torch_symbol_and_exports_its_entry_point_alone():
    undefined = _output("nm", "-DC", "--undefined-only", _core.__file__)
    assert "std::" in undefined  # the listing lists
    for name in ("c10::", "at::", "torch::", "caffe2::"):
        assert name not in undefined
    exported = _output("nm", "-D", "--defined-only", _core.__file__).split()
    ours = [name for name in exported if "torchnotary" in name or name.startswith("PyInit")]
    assert ours == ["PyInit__core"]


@pytest.mark.skipif(shutil.which("ldd") is None, reason="ldd is not installed")
def test_core_is_not_linked_to_torch():
    libraries = _output("ldd", _core.__file__)
    assert "libstdc++" in libraries
    for name in ("libtorch", "libc10"):  # c10 alone stands in one address in a few hundred
        assert name not in libraries


def test_core_loads_without_torch_and_numpy():
    code = "import sys; from torchnotary import _core; _core.blake3(b''); "
    code += "assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_stub_is_what_the_module_says(tmp_path):
    pytest.importorskip("pybind11_stubgen")
    _output(sys.executable, "-m", "pybind11_stubgen", "torchnotary._core", "-o", str(tmp_path))
    made = (tmp_path / "torchnotary" / "_core.pyi").read_text()
    kept = Path(torchnotary.__file__).with_name("_core.pyi").read_text()
    assert made == kept, "regenerate the stub: make stubs"
