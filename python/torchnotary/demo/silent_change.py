"""The story of a silent change: a pinned model that somebody quantised a little, unannounced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PinMismatch
from .minilm import recorder

LAYER = "encoder.layer.3.output.dense"


@dataclass(frozen=True)
class SilentChange:
    """``similarity`` is the smallest cosine between the answers before and after, one a text;
    ``refusal`` is what ``check_pin`` raised (None: it let the change pass)."""

    similarity: float
    refusal: PinMismatch | None

    @property
    def stopped(self) -> bool:
        """Whether the change was refused and the layer that changed was named."""
        return self.refusal is not None and LAYER in self.refusal.reason


def change_silently(model: Any, tokenizer: Any, texts: list[str], lock: Path) -> SilentChange:
    """Pins ``model`` in ``lock``, rounds one layer of a copy to int8 and back, and checks the pin.

    The copy has the same class, names, shapes and dtypes; only 590,000 of its numbers moved.
    """
    import torch

    import torchnotary as tn

    tn.pin(model, lock)
    tn.check_pin(model, lock)
    deployed = copy.deepcopy(model)
    round_to_int8(deployed.get_submodule(LAYER).weight)
    before, after = (_embed(lock.parent, tokenizer, m)(texts) for m in (model, deployed))
    similarity = torch.nn.functional.cosine_similarity(before, after).min().item()
    try:
        tn.check_pin(deployed, lock)
    except PinMismatch as refusal:
        return SilentChange(similarity, refusal)
    return SilentChange(similarity, None)


def _embed(folder: Path, tokenizer: Any, model: Any) -> Callable:
    """The demo's function over ``model``, unrecorded."""
    _, embed = recorder(folder / "log", tokenizer, model)
    return embed.__wrapped__


def round_to_int8(weight: Any) -> None:
    """Rounds a weight in place to one of 255 values, as a quantised checkpoint loads it."""
    weight = weight.detach()
    scale = weight.abs().max() / 127
    weight.copy_((weight / scale).round_() * scale)
