"""The package installs where torch is not, and torchnotary-verifier verifies records there: a wheel
of its own, for an auditor without torch and a compiler.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pybind11
import pytest

from torchnotary.statement.record import Record
from verifier_helpers import repacked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "python"
PACKAGING = ROOT / "packaging" / "verifier"
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERIFIER = tomllib.loads((PACKAGING / "pyproject.toml").read_text())
LEFT_OUT = {
    PurePosixPath(path)
    for path in VERIFIER["tool"]["scikit-build"]["wheel"]["exclude"]
    if "*" not in path
}


def run(*words: object, **options) -> subprocess.CompletedProcess:
    options.setdefault("env", {**os.environ, "PYTHONPATH": ""})
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=900, **options
    )


def pip(python: Path, *words: object) -> subprocess.CompletedProcess:
    return run(sys.executable, "-m", "pip", "--python", python, *words)


def environment(folder: Path) -> Path:
    """The interpreter of a fresh virtual environment with nothing in it."""
    assert run(sys.executable, "-m", "venv", "--without-pip", folder).returncode == 0
    return folder / "bin" / "python"


# Beside the other build trees, so that a compiler cache finds here what it compiled there.
BUILD_TREE = ROOT / "build" / "bare"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment into which torchnotary was installed without torch,
    and without what it requires."""
    python = environment(tmp_path_factory.mktemp("bare") / "venv")
    got = pip(python, "install", "-q", "scikit-build-core>=0.10")
    if got.returncode:
        pytest.skip(f"no package index to install build tools from: {got.stderr[-200:]}")
    built = pip(
        *(python, "install", "-q", "--no-deps", "--no-build-isolation"),
        *("--config-settings", f"build-dir={BUILD_TREE}"),
        *("--config-settings", f"cmake.define.pybind11_DIR={pybind11.get_cmake_dir()}"),
        ROOT,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return python


@pytest.fixture(scope="module")
def verifier_wheel(tmp_path_factory, bare_python) -> Path:
    """The wheel, built in the tree that has compiled _core already."""
    dist = tmp_path_factory.mktemp("dist")
    options = ("--python", bare_python, "--build-dir", BUILD_TREE)
    built = run(sys.executable, PACKAGING / "build.py", dist, *options)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = dist.iterdir()
    return wheel


@pytest.fixture(scope="module")
def auditor(tmp_path_factory, verifier_wheel) -> Path:
    """The interpreter of a fresh environment that has the wheel and what it requires."""
    python = environment(tmp_path_factory.mktemp("auditor") / "venv")
    got = pip(python, "install", "-q", "--no-compile", "--only-binary=:all:", verifier_wheel)
    assert got.returncode == 0, got.stderr
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


def site_packages(python: Path) -> Path:
    (found,) = python.parents[1].glob("lib/python*/site-packages")
    return found


def test_the_deterministic_profile_says_what_it_needs_where_torch_is_not(
    bare_python, auditor, tmp_path
):
    # What torchnotary requires is what the verifier requires.
    borrowed = site_packages(bare_python) / "borrowed.pth"
    borrowed.write_text(f"{site_packages(auditor)}\n")
    code = "import torchnotary as tn; tn.Notary('log', profile='deterministic')"
    result = run(bare_python, "-c", code, cwd=tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "NotaryError" in last and "torch" in last and "Next:" in last


def test_the_verifier_s_wheel_has_its_version_its_libraries_and_nothing_that_is_left_out(
    verifier_wheel,
):
    name = verifier_wheel.name
    assert name.startswith(f"torchnotary_verifier-{WHOLE['project']['version']}-")
    assert "-manylinux_" in name
    held = {PurePosixPath(path) for path in zipfile.ZipFile(verifier_wheel).namelist()}
    assert not {path for path in held if is_left_out(path)}
    kept = {PurePosixPath(path.as_posix()) for path in KEPT}
    assert kept == {path for path in held if path.suffix == ".py"}
    assert [
        path.stem.partition(".")[0]
        for path in held
        if path.parts[0] == "torchnotary" and path.suffix == ".so"
    ] == ["_core"]


def test_an_auditor_verifies_records_by_a_policy(auditor, notary, tmp_path):
    notary.record(lambda x: x * 2)(3)
    path, policy = tmp_path / "run.tnr", tmp_path / "policy.toml"
    notary.last.save(path, disclose=("inputs", "outputs"))
    policy.write_text(f'signers = ["{notary.last.public_key.fingerprint}"]\n')
    signed = Record.load(path).bundle.envelope
    forged = replace(signed, payload=signed.payload.replace(b'"system"', b'"atomic"'))
    (tmp_path / "tampered.tnr").write_bytes(repacked(path, envelope=forged))
    home = {**os.environ, "PYTHONPATH": "", "TORCHNOTARY_HOME": str(tmp_path / "nobody")}
    command = auditor.with_name("torchnotary")

    def verify(*words: object) -> subprocess.CompletedProcess:
        return run(command, "verify", *words, env=home)

    trusted = verify(path, "--policy", policy)
    assert trusted.returncode == 0, trusted.stdout + trusted.stderr
    tampered = verify(tmp_path / "tampered.tnr", "--policy", policy)
    assert tampered.returncode == 1 and "INVALID" in tampered.stdout
    unknown = verify(path)
    assert unknown.returncode == 3 and "UNKNOWN SIGNER" in unknown.stdout


def test_every_module_and_command_of_the_verifier_works_without_torch(auditor, notary, tmp_path):
    notary.record(lambda x: x * 2)(3)
    notary.last.save(tmp_path / "run.tnr")
    notary.close()
    header = b'{"w":{"dtype":"F32","shape":[1024],"data_offsets":[0,4096]}}'
    weights = len(header).to_bytes(8, "little") + header + bytes(4096)
    (tmp_path / "w.safetensors").write_bytes(weights)
    code = """if True:
        import importlib, importlib.util, pkgutil, sys
        import torchnotary
        from torchnotary import cli

        assert not any(map(importlib.util.find_spec, ("torch", "numpy", "pybind11")))
        for module in pkgutil.walk_packages(torchnotary.__path__, "torchnotary."):
            if module.name != "torchnotary.__main__":
                importlib.import_module(module.name)
        offered = [c.name for c in cli.program().registered_commands]
        for words in [[], *([c] for c in offered), *([g] for g in cli.GROUPS)]:
            assert cli.run([*words, "--help"]) == 0, words
        for words, code in (
            (["verify", "run.tnr"], 0),
            (["save", "run.tnr", "-o", "copy.tnr"], 0),
            (["commit", "run.tnr"], 0),
            (["manifest", "w.safetensors", "-o", "manifest"], 0),
            (["pin", "run.tnr"], 0),
            (["pin", "run.tnr", "--check"], 0),
            (["open", "w.safetensors", "--tensor", "w", "--index", "0:9", "-o", "part"], 0),
            (["check-opening", "part", "--manifest", "manifest", "--tensor", "w"], 0),
            (["log", "check", "log"], 0),
            (["log", "list", "log"], 0),
            (["keys", "list"], 0),
            (["doctor"], 0),
            (["demo"], 2),
            (["reproduce", "run.tnr", "--call", "a:b"], 2),
            (["diff", "run.tnr", "run.tnr"], 2),
        ):
            assert cli.run(words) == code, words
        assert "torch" not in sys.modules
        try:
            torchnotary.record
        except ImportError as error:
            assert "pip install torchnotary" in str(error)
        print(*offered)
    """
    result = run(auditor, "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    offered = "doctor commit manifest pin verify save open check-opening"
    assert result.stdout.splitlines()[-1] == offered


def is_left_out(path: PurePosixPath) -> bool:
    return not LEFT_OUT.isdisjoint({path, *path.parents})


KEPT = [
    path
    for path in (path.relative_to(SOURCES) for path in sorted(SOURCES.rglob("*.py")))
    if not is_left_out(PurePosixPath(path.as_posix()))
]


def imports(path: Path) -> set[str]:
    """Dotted names of what a module imports from the package, functions' imports too, those for
    type checkers aside."""
    tree = ast.parse((SOURCES / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    package = path.parent.parts
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            home = (*above, *filter(None, [node.module]))
            found |= {".".join((*home, alias.name)) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("torchnotary.")}


def test_no_module_of_the_verifier_imports_one_that_is_left_out():
    wrong = []
    for path in KEPT:
        for name in imports(path):
            parts = PurePosixPath(*name.split("."))
            modules = (parts, parts.parent)  # the last part may be a name in a module
            if any(map(is_left_out, [*modules, *(m.with_suffix(".py") for m in modules)])):
                wrong.append(f"{path} imports {name}")
    assert not wrong


def test_what_the_verifier_leaves_out_exists():
    assert not [path for path in LEFT_OUT if not (SOURCES / path).exists()]


def test_the_verifier_requires_what_torchnotary_requires():
    for name in ("dependencies", "requires-python", "license", "scripts"):
        assert VERIFIER["project"][name] == WHOLE["project"][name]
    assert VERIFIER["build-system"] == WHOLE["build-system"]
