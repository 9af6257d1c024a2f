"""The package installs where torch is not, and what it installs verifies records there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object, **options) -> subprocess.CompletedProcess:
    options.setdefault("env", {**os.environ, "PYTHONPATH": ""})
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=900, **options
    )


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment into which torchnotary was installed without torch."""
    folder = tmp_path_factory.mktemp("bare")
    assert run(sys.executable, "-m", "venv", folder / "venv").returncode == 0
    python = folder / "venv" / "bin" / "python"
    tools = ["scikit-build-core>=0.10", "pybind11>=3.0,<4"]
    got = run(python, "-m", "pip", "install", "-q", *tools)
    if got.returncode:
        pytest.skip(f"no package index to install build tools from: {got.stderr[-200:]}")
    built = run(
        *(python, "-m", "pip", "install", "-q", "--no-build-isolation"),
        f"--config-settings=build-dir={folder / 'build'}",
        ROOT,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return python


def test_without_torch_the_core_and_the_verifier_are_installed_alone(bare_python):
    code = (
        "import importlib.util as u, pathlib, torchnotary, torchnotary._core as core;"
        "here = pathlib.Path(core.__file__).parent;"
        "assert u.find_spec('torch') is None and u.find_spec('numpy') is None;"
        "assert not list(here.glob('_torch*.so')), list(here.iterdir());"
        "assert (here / 'py.typed').exists() and (here / '_core.pyi').exists();"
        "print(torchnotary.__version__, core.cpu_path())"
    )
    result = run(bare_python, "-c", code, cwd="/")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("0.1.0 ")


def test_a_record_verifies_where_torch_is_not_installed(bare_python, notary, tmp_path):
    notary.record(lambda x: x * 2)(3)
    path = tmp_path / "run.tnr"
    notary.last.save(path, disclose=("inputs", "outputs"))
    command = bare_python.with_name("torchnotary")
    signer = notary.last.public_key.fingerprint
    result = run(command, "verify", path, "--signer", signer)
    assert result.returncode == 0, result.stdout + result.stderr
    unknown = run(
        command,
        "verify",
        path,
        env={**os.environ, "PYTHONPATH": "", "TORCHNOTARY_HOME": str(tmp_path / "nobody")},
    )
    assert unknown.returncode == 3
    assert "UNKNOWN SIGNER" in unknown.stdout


def test_the_deterministic_profile_says_what_it_needs_where_torch_is_not(bare_python, tmp_path):
    code = "import torchnotary as tn; tn.Notary('log', profile='deterministic')"
    result = run(bare_python, "-c", code, cwd=tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "NotaryError" in last and "torch" in last and "Next:" in last
