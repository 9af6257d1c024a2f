"""Two real models under exact/1, stage by stage, in every order of work: what
tests/golden/exact_models.txt has the digests of.

    python tests/python/exact_model_stages.py minilm|smollm2 THREADS...

prints `order threads model/stage digest` for every order of work and number of threads, on the CPU
path that TORCHNOTARY_CPU names. A digest is `torchnotary.commit` of the stage's real rows, those of
the first sequence first, without padding: (rows, width). It must depend on neither order, threads
nor path.

Token i of sequence s is 1000 + 7919 (s + 1) (i + 1) mod 18000.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

import torch
from torch import nn

import torchnotary as tn
from torchnotary.exact import exact_scope, prepare

LENGTHS = {"minilm": (31, 7, 64, 18), "smollm2": (32, 19)}
CONTINUATION = 8  # tokens

Rows = list[torch.Tensor]  # of one sequence: a tensor (rows, width) for each stage


def sequences(name: str) -> list[torch.Tensor]:
    return [
        torch.tensor([1000 + 7919 * (s + 1) * (i + 1) % 18000 for i in range(length)])
        for s, length in enumerate(LENGTHS[name])
    ]


def stages(name: str, layers: int) -> list[str]:
    """The names of what `_rows` gives: the last layer of SmolLM2 comes after its norm."""
    if name == "minilm":
        return ["embeddings", *(f"layer-{i}" for i in range(1, layers)), "last_hidden_state"]
    return ["embeddings", *(f"layer-{i}" for i in range(1, layers)), "final-norm", "logits"]


def load(name: str) -> nn.Module:
    """The model, prepared. RoPE's frequencies, which `pow` computes differently on other CPUs, are
    those of its formula, computed in decimal."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import models

    model = getattr(models, name)()[0].requires_grad_(False)
    if name == "smollm2":
        install_frequencies(model)
    prepare(model)
    return model


def install_frequencies(model: nn.Module) -> torch.Tensor:
    """Returns those that were there before."""
    rotary = model.model.rotary_emb
    before, width = rotary.inv_freq, 2 * len(rotary.inv_freq)
    theta = Decimal(model.config.rope_parameters["rope_theta"])
    with localcontext(prec=50):
        exact = [float(theta ** (Decimal(-i) / width)) for i in range(0, width, 2)]
    rotary.inv_freq = torch.tensor(exact)
    return before


def _call(model: nn.Module, **arguments: object) -> object:
    with torch.inference_mode(), exact_scope():
        return model(**arguments)


def _stacked(output: object) -> list[torch.Tensor]:
    """Every stage (batch, length, width)."""
    logits = getattr(output, "logits", None)
    return [*output.hidden_states, *([] if logits is None else [logits])]


def _batch(model: nn.Module, batch: Sequence[torch.Tensor], left: bool) -> list[Rows]:
    """The sequences of one padded batch."""
    width = max(map(len, batch))
    starts = [width - len(tokens) if left else 0 for tokens in batch]
    ids, mask, positions = (torch.zeros(len(batch), width, dtype=torch.int64) for _ in range(3))
    for row, (start, tokens) in enumerate(zip(starts, batch, strict=True)):
        place = slice(start, start + len(tokens))
        ids[row, place], mask[row, place] = tokens, 1
        positions[row, place] = torch.arange(len(tokens))
    options = {} if model.config.model_type == "bert" else {"use_cache": False}
    output = _call(
        model,
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        output_hidden_states=True,
        **options,
    )
    return [
        [stage[row, start : start + len(tokens)] for stage in _stacked(output)]
        for row, (start, tokens) in enumerate(zip(starts, batch, strict=True))
    ]


def _token_by_token(model: nn.Module, batch: Sequence[torch.Tensor]) -> list[Rows]:
    return [_decoded(model, tokens) for tokens in batch]


def _decoded(model: nn.Module, tokens: torch.Tensor) -> Rows:
    cache, steps = None, []
    for token in tokens:
        output = _call(
            model,
            input_ids=token.reshape(1, 1),
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
        )
        cache = output.past_key_values
        steps.append([stage[0] for stage in _stacked(output)])
    return [torch.cat(stage) for stage in zip(*steps, strict=True)]


def _each(size: int) -> Callable[[nn.Module, Sequence[torch.Tensor]], list[Rows]]:
    """Batches of so many sequences."""

    def run(model: nn.Module, batch: Sequence[torch.Tensor]) -> list[Rows]:
        parts = (batch[at : at + size] for at in range(0, len(batch), size))
        return [rows for part in parts for rows in _batch(model, part, left=False)]

    return run


ORDERS: dict[str, dict[str, Callable[[nn.Module, Sequence[torch.Tensor]], list[Rows]]]] = {
    "minilm": {
        "padded-right": _each(4),
        "padded-left": lambda model, batch: _batch(model, batch, left=True),
        "in-pairs": _each(2),
        "one-by-one": _each(1),
    },
    "smollm2": {
        "padded-right": _each(2),
        "padded-left": lambda model, batch: _batch(model, batch, left=True),
        "one-by-one": _each(1),
        "token-by-token": _token_by_token,
    },
}

# The orders in which sequences are continued, and the batches they make of them.
CONTINUED: dict[str, Callable[[Sequence[torch.Tensor]], list[Sequence[torch.Tensor]]]] = {
    "padded-left": lambda batch: [batch],
    "one-by-one": lambda batch: [[tokens] for tokens in batch],
}


def continuation(model: nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the model continues each sequence with, greedily: (sequences, CONTINUATION) tokens."""
    width = max(map(len, batch))
    ids, mask = (torch.zeros(len(batch), width, dtype=torch.int64) for _ in range(2))
    for row, tokens in enumerate(batch):
        ids[row, width - len(tokens) :], mask[row, width - len(tokens) :] = tokens, 1
    options = {"max_new_tokens": CONTINUATION, "min_new_tokens": CONTINUATION, "do_sample": False}
    with torch.inference_mode(), exact_scope():
        return model.generate(ids, attention_mask=mask, **options)[:, width:]


def lines(name: str, model: nn.Module, order: str) -> Iterator[str]:
    """`model/stage digest` of one order of work."""
    batch = sequences(name)
    parts = ORDERS[name][order](model, batch)
    names = stages(name, model.config.num_hidden_layers)
    for stage, rows in zip(names, zip(*parts, strict=True), strict=True):
        yield f"{name}/{stage} {tn.commit(torch.cat(rows)).digest}"
    if name == "smollm2" and order in CONTINUED:
        together = [continuation(model, part) for part in CONTINUED[order](batch)]
        yield f"{name}/continuation {tn.commit(torch.cat(together)).digest}"


def weights_line(name: str, model: nn.Module) -> str:
    """The weights that the digests belong to: another model gives others."""
    return f"{name}/weights {tn.Manifest.of(model).weights_root}"


def main(name: str, threads: Sequence[int]) -> None:
    model = load(name)
    print("-", "-", weights_line(name, model))
    for count in threads:
        torch.set_num_threads(count)
        for order in ORDERS[name]:
            for line in lines(name, model, order):
                print(order, count, line, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(sys.argv[1], [int(count) for count in sys.argv[2:]])
