"""Changes planted in one operator of MiniLM, each of which must be found at exactly that operator.

`python tests/python/plantings.py --count 100` (`make plantings`) runs the campaign and prints what
was found. A planting is given by seed and number, which bring it back: a bit of a parameter, the
eps of a normalisation, another activation, another attention scale, a bias left out.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import torchnotary as tn

_OPERATORS = {
    nn.Linear: "aten::linear",
    nn.Embedding: "aten::embedding",
    nn.LayerNorm: "aten::layer_norm",
}


@dataclass(frozen=True)
class Site:
    """A planted change: its kind, what was done, and where a trace must show it first, as module
    path and operator of the unchanged model."""

    kind: str
    change: str
    module: str
    operator: str


Plant = Callable[[nn.Module, random.Random], Site]


def weights(model: nn.Module, choice: random.Random) -> Site:
    """One bit flips in the fraction of one element of a parameter."""
    path, module = choice.choice(_of_kind(model, *_OPERATORS))
    name = choice.choice([name for name, _ in module.named_parameters()])
    values = getattr(module, name).data.view(-1).view(torch.int32)
    index, bit = choice.randrange(len(values)), choice.randrange(23)
    values[index] ^= 1 << bit
    return _site("weights", f"{name}[{index}] ^= 1 << {bit}", path, module)


def eps(model: nn.Module, choice: random.Random) -> Site:
    path, module = choice.choice(_of_kind(model, nn.LayerNorm))
    module.eps = choice.choice([1e-5, 1e-8, 1e-11, 2e-12])
    return _site("eps", f"eps = {module.eps}", path, module)


def activation(model: nn.Module, choice: random.Random) -> Site:
    name = choice.choice(["intermediate_act_fn", "activation"])
    path, _ = choice.choice([item for item in model.named_modules() if item[0].endswith(name)])
    operator = "aten::gelu" if name == "intermediate_act_fn" else "aten::tanh"
    planted = choice.choice([nn.ReLU(), nn.GELU(approximate="tanh"), nn.SiLU()])
    model.set_submodule(path, planted)
    return Site("activation", str(planted), path, operator)


def attention_scale(model: nn.Module, choice: random.Random) -> Site:
    path, module = choice.choice([x for x in model.named_modules() if hasattr(x[1], "scaling")])
    module.scaling *= choice.choice([0.5, 1.01, 1 + 2**-40])
    change = f"scaling = {module.scaling}"
    return Site("attention scale", change, path, "aten::scaled_dot_product_attention")


def dropped_bias(model: nn.Module, choice: random.Random) -> Site:
    path, module = choice.choice(_of_kind(model, nn.Linear, nn.LayerNorm))
    module.bias = None
    return _site("dropped bias", "bias = None", path, module)


KINDS: list[Plant] = [weights, eps, activation, attention_scale, dropped_bias]


def _of_kind(model: nn.Module, *kinds: type) -> list[tuple[str, nn.Module]]:
    return [item for item in model.named_modules() if type(item[1]) in kinds]


def _site(kind: str, change: str, path: str, module: nn.Module) -> Site:
    return Site(kind, change, path, _OPERATORS[type(module)])


class Campaign:
    """Plants into copies of one model, recorded once as it is; ``folder`` takes the log."""

    def __init__(self, model: nn.Module, folder: Path) -> None:
        self._model = model
        ids = torch.randint(1000, 20_000, (2, 5), generator=torch.Generator().manual_seed(0))
        self._inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        self._notary = tn.Notary(folder, trace="operators")
        self._original = self._record(copy.deepcopy(model))

    def close(self) -> None:
        self._notary.close()

    def failures(self, seed: int, number: int) -> tuple[Site, list[str]]:
        """Plants one change, the kinds in turn, and says which of ``diff`` and ``reproduce`` did
        not name its module and operator."""
        planted = copy.deepcopy(self._model)
        site = KINDS[number % len(KINDS)](planted, random.Random(f"{seed} {number}"))
        record = self._record(planted)
        difference = tn.diff(self._original, record)
        with torch.inference_mode():
            again = tn.reproduce(self._original, planted, self._inputs)
        answers = {"diff": difference.first_divergence, "reproduce": again.first_divergence}
        return site, list(_wrong(site, answers))

    def _record(self, model: nn.Module) -> tn.Record:
        self._notary.attach(model)
        with torch.inference_mode():
            model(**self._inputs)
        self._notary.detach(model)
        return self._notary.last


def _wrong(site: Site, answers: dict[str, Any]) -> Iterator[str]:
    for name, found in answers.items():
        if found is None:
            yield f"{name} found nothing"
        elif (found.module, found.operator) != (site.module, site.operator):
            yield f"{name} named {found}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHNOTARY_HOME"] = str(Path(folder) / "home")
        return _run(options.count, options.seed, Path(folder) / "log")


def _run(count: int, seed: int, folder: Path) -> int:
    from models import minilm

    planted, located = Counter(), Counter()
    campaign = Campaign(minilm(1, 1)[0], folder)
    for number in range(count):
        site, failures = campaign.failures(seed, number)
        planted[site.kind] += 1
        located[site.kind] += not failures
        for failure in failures:
            where = f"{site.module} ({site.operator}): {site.change}"
            print(f"seed {seed}, number {number}, {where}: {failure}", file=sys.stderr)
    campaign.close()
    print(f"{'planted in one operator of MiniLM':<34}{'planted':>8}{'located':>9}")
    for kind, number in planted.items():
        print(f"{kind:<34}{number:>8}{located[kind]:>9}")
    print(f"{'all':<34}{count:>8}{located.total():>9}")
    return 0 if located.total() == count else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    sys.exit(main())
