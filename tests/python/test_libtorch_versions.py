"""_torch is loaded under the torch it was built for, finds that torch's libraries, or says why."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torchnotary import _libtorch  # noqa: E402
from torchnotary.errors import NotaryError  # noqa: E402

MINOR = ".".join(torch.__version__.split(".")[:2])


@pytest.fixture
def unloaded(monkeypatch):
    monkeypatch.setattr(_libtorch, "_loaded", None)


@pytest.fixture
def broken_build(unloaded, monkeypatch, tmp_path):
    """A function that puts an extension that cannot be loaded where ours would be."""

    def make(build: str | None):
        package = tmp_path / "broken_build"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / f"_torch{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"not ELF")
        if build is not None:
            (package / _libtorch.VERSION_FILE).write_text(build)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(_libtorch, "EXTENSION", "broken_build._torch")

    yield make
    sys.modules.pop("broken_build", None)


def test_the_extension_was_built_for_the_torch_that_runs():
    assert _libtorch.load().TORCH_MINOR == MINOR
    assert _libtorch.load() is _libtorch.load()


@pytest.mark.parametrize("running", ["2.4.1", "2.12.0+cu128", "3.13.0"])
def test_another_torch_is_refused_naming_both_versions_and_the_rebuild(
    unloaded, monkeypatch, running
):
    monkeypatch.setattr(torch, "__version__", running)
    with pytest.raises(NotaryError) as refusal:
        _libtorch.load()
    assert f"torch {MINOR}" in str(refusal.value)
    assert f"torch {running}" in str(refusal.value)
    assert "pip install --no-build-isolation" in refusal.value.next_step


def test_another_patch_release_or_build_of_the_same_minor_version_is_loaded(unloaded, monkeypatch):
    monkeypatch.setattr(torch, "__version__", f"{MINOR}.7+cu130")
    assert _libtorch.load().TORCH_MINOR == MINOR


def test_the_version_is_compared_before_the_extension_is_touched(broken_build):
    broken_build("2.4.0")
    with pytest.raises(NotaryError, match="expected torch 2.4, got torch " + MINOR):
        _libtorch.load()


def test_an_extension_that_does_not_load_is_refused_with_the_cause(broken_build):
    broken_build(torch.__version__)
    with pytest.raises(NotaryError, match="does not load: .*broken_build") as refusal:
        _libtorch.load()
    assert isinstance(refusal.value.__cause__, ImportError)
    assert "pip install --no-build-isolation" in refusal.value.next_step


@pytest.mark.parametrize("build", [None, "", "torch", "2", "\0"])
def test_a_version_file_that_does_not_name_a_torch_is_refused(broken_build, build):
    broken_build(build)
    with pytest.raises(NotaryError, match=_libtorch.VERSION_FILE):
        _libtorch.load()


def test_an_extension_that_was_never_built_is_refused_with_the_command_that_builds_it(
    unloaded, monkeypatch
):
    monkeypatch.setattr(_libtorch, "EXTENSION", "torchnotary._never_built")
    with pytest.raises(NotaryError, match="without") as refusal:
        _libtorch.load()
    assert "pip install --no-build-isolation" in refusal.value.next_step


def test_without_torch_the_error_says_to_install_it():
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from torchnotary import _libtorch, errors\n"
        "try: _libtorch.load()\n"
        "except errors.NotaryError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "torch cannot be imported" in done.stdout and "pip install torch" in done.stdout


needs_readelf = pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils are missing")
needs_ldd = pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd on this system")


@needs_readelf
def test_the_library_path_is_relative_to_the_extension_alone():
    extension = _libtorch.load().__file__
    dynamic = subprocess.run(["readelf", "-d", extension], capture_output=True, text=True)
    (path,) = [line for line in dynamic.stdout.splitlines() if "PATH)" in line]
    assert path.endswith("[$ORIGIN/../torch/lib]")


@needs_ldd
def test_libtorch_is_found_beside_the_package_without_torch_being_imported():
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    linked = subprocess.run(
        ["ldd", _libtorch.load().__file__], capture_output=True, text=True, env=environment
    ).stdout
    assert "not found" not in linked
    folder = Path(torch.__file__).parent.resolve() / "lib"
    found = dict(line.split(" => ") for line in linked.splitlines() if " => " in line)
    for library, path in ((name.strip(), path) for name, path in found.items()):
        if library.startswith(("libtorch", "libc10")):
            assert Path(path.split(" (")[0]).resolve().parent == folder, library


def test_the_stub_is_what_the_module_says(tmp_path):
    pytest.importorskip("pybind11_stubgen")
    command = [sys.executable, "-m", "pybind11_stubgen", "torchnotary._torch", "-o", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    made = (tmp_path / "torchnotary" / "_torch.pyi").read_text()
    kept = Path(_libtorch.__file__).with_name("_torch.pyi").read_text()
    assert made == kept, "regenerate the stub: make stubs"
