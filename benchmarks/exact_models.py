"""Whole models under exact/1 against eager torch: time, error and memory.

`recorded` is `Notary(profile="exact/1")`, `traced` the same with a line for every operator; the
peer is torch as it is, with nothing recorded and weights in ordinary memory. Run as a program,
`python exact_models.py PEER ROUNDS FOLDER` prints MiniLM's rows against one peer as JSON: how
malloc treats memory is settled when a process starts.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import torchnotary
from harness import Bench, Row, Summary, scaled, take_turns
from models import minilm, resnet18, smollm2
from torchnotary import _libtorch
from torchnotary.exact import exact_scope, prepare

_ROUNDS = 20
_PLAIN_CALL = nn.Module.__call__
# Eager's time over ours, at least; by workload and what is made of it.
_TARGETS = {
    ("MiniLM 16×64", "recorded"): 1.10,
    ("MiniLM 16×64", "traced"): 0.95,
    ("MiniLM 1×64", "recorded"): 1.10,
    ("SmolLM2 prefill 256", "exact"): 1.05,
    ("SmolLM2 decode", "exact"): 1.0,
    ("ResNet-18 1×224²", "exact"): 0.8,
    ("ResNet-18 8×224²", "exact"): 0.8,
}
# Peers in processes of their own, and what settles their malloc: the pooled one gives nothing back
# to the system and asks it for 256 MiB at a time.
_PEERS = {
    "pooled malloc": {
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
        "MALLOC_TOP_PAD_": str(1 << 28),
    },
    "torch.compile": {},
}
# Their time over that of what is recorded, at least.
_PEER_TARGET = 1.0


def measure(bench: Bench) -> list[Row]:
    threads = torch.get_num_threads()
    rows: list[Row] = []
    try:
        with torch.inference_mode():
            rows += _minilm(bench, "eager", threads)
            for peer, settings in _PEERS.items():
                rows += _elsewhere(bench, peer, settings)
            for batch in (1, 8):
                model, inputs = resnet18(batch)
                rows += _contest(bench, f"ResNet-18 {batch}×224²", model, inputs, threads)
            model, inputs = smollm2(256)
            rows += _contest(bench, "SmolLM2 prefill 256", model, inputs, threads)
            rows += _decode(bench, model, inputs["input_ids"], threads)
            # Last: once malloc has freed blocks as large as float64's, it keeps all of float32's.
            rows += _error(*minilm(16, 64))
    finally:
        torch.set_num_threads(threads)
    return rows


def _minilm(bench: Bench, peer: str, threads: int) -> list[Row]:
    model, inputs = minilm(16, 64)
    rows = _packs(model) if peer == "eager" else []
    rows += _contest(bench, "MiniLM 16×64", model, inputs, threads, peer)
    if peer == "eager":
        kept = _libtorch.load().arena_bytes()
        rows.append(Row("MiniLM 16×64: results' memory kept", "MB", Summary.of([kept / 1e6])))
    one = {name: value[:1] for name, value in inputs.items()}
    return rows + _contest(bench, "MiniLM 1×64", model, one, threads, peer)


def _elsewhere(bench: Bench, peer: str, settings: dict[str, str]) -> list[Row]:
    """The rows of this file run as a program."""
    rounds = str(max(5, bench.rounds(_ROUNDS)))
    command = [sys.executable, __file__, peer, rounds, str(bench.folder / peer)]
    ran = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True)
    rows = json.loads(ran.stdout.splitlines()[-1])
    for row in rows:
        del row["met"]
        row["summary"] = Summary(**row["summary"])
    return [Row(**row) for row in rows]


def _main(peer: str, rounds: str, folder: str) -> None:
    with torch.inference_mode():
        bench = Bench(Path(folder), rounds_wanted=int(rounds))
        rows = _minilm(bench, peer, torch.get_num_threads())
    print(json.dumps([row.as_json() for row in rows]))


def _contest(
    bench: Bench,
    name: str,
    model: nn.Module,
    inputs: dict[str, Any],
    threads: int,
    peer: str = "eager",
) -> list[Row]:
    ordinary = copy.deepcopy(model)
    if peer == "torch.compile":
        ordinary = torch.compile(ordinary)
    prepare(model)
    rows: list[Row] = []
    notaries = {
        kind: torchnotary.Notary(bench.folder / f"{name} {kind}", profile="exact/1", trace=trace)
        for kind, trace in (("recorded", False), ("traced", "operators"))
    }
    calls = {
        kind: notary.record(lambda **given: model(**given), model=model)
        for kind, notary in notaries.items()
    }
    contenders = {
        peer: lambda: ordinary(**inputs),
        "exact": _exact(lambda: model(**inputs)),
        **{kind: (lambda call=call: call(**inputs)) for kind, call in calls.items()},
    }

    def settle() -> None:
        for notary in notaries.values():
            notary.flush()

    for number in sorted({1, threads}):
        torch.set_num_threads(number)
        rows += _ratios(bench, name, contenders, number, settle)
    for notary in notaries.values():
        notary.close()
    return rows


def _decode(bench: Bench, model: nn.Module, ids: torch.Tensor, threads: int) -> list[Row]:
    token = ids[:, :1]

    def steps(model: nn.Module) -> Callable[[], None]:
        cache = model(ids, use_cache=True).past_key_values

        def step() -> None:
            model(token, past_key_values=cache, use_cache=True)
            cache.crop(-1)

        return step

    contenders = {"eager": steps(copy.deepcopy(model)), "exact": _exact(steps(model))}
    rows: list[Row] = []
    for number in sorted({1, threads}):
        torch.set_num_threads(number)
        rows += _ratios(bench, "SmolLM2 decode", contenders, number)
    return rows


def _ratios(
    bench: Bench,
    name: str,
    contenders: dict[str, Callable[[], Any]],
    threads: int,
    settle: Callable[[], Any] = lambda: None,
) -> list[Row]:
    for call in contenders.values():  # notaries stand in for the method from their first call on
        call()
    recorded_call = nn.Module.__call__

    def prepare_for(name: str) -> None:
        # The first call after a change is slow: Python looks every method up again.
        nn.Module.__call__ = recorded_call if name in ("recorded", "traced") else _PLAIN_CALL
        contenders[name]()
        settle()

    rounds = max(5, bench.rounds(_ROUNDS))
    try:
        times = take_turns(contenders, rounds, prepare=prepare_for, settle=settle)
    finally:
        nn.Module.__call__ = recorded_call
    where = f"{name}, {threads} thread" + ("s" if threads > 1 else "")
    peer, *all_ours = contenders
    rows = [Row(f"{where}: {peer}", "ms", scaled(times[peer], 1e-6))]
    for ours in all_ours:
        ratios = [a / b for a, b in zip(times[peer], times[ours], strict=True)]
        rows.append(
            Row(
                f"{where}: {peer} / {ours}",
                "×",
                Summary.of(ratios),
                at_least=_target(name, peer, ours),
            )
        )
    return rows


def _target(name: str, peer: str, ours: str) -> float | None:
    if peer == "eager":
        return _TARGETS.get((name, ours))
    return _PEER_TARGET if ours == "recorded" else None


def _exact(call: Callable[[], Any]) -> Callable[[], Any]:
    def in_scope() -> Any:
        with exact_scope():
            return call()

    return in_scope


def _error(model: nn.Module, inputs: dict[str, Any]) -> list[Row]:
    """Root mean square of the distance to the same model in float64."""
    eager = model(**inputs)[0]
    with exact_scope():
        exact = model(**inputs)[0]
    true = model.double()(**inputs)[0]
    model.float()

    def rms(made: torch.Tensor) -> float:
        return float((made.double() - true).square().mean().sqrt())

    ratio = rms(exact) / rms(eager)
    return [
        Row("MiniLM 16×64: error of exact / error of eager", "×", Summary.of([ratio]), target=1.0),
        Row("MiniLM 16×64: error of exact", "", Summary.of([rms(exact)])),
    ]


def _packs(model: nn.Module) -> list[Row]:
    """Bytes of packed weights beside those of the linear layers they come from."""
    before = _libtorch.load().packed_bytes()
    prepare(model)
    packed = _libtorch.load().packed_bytes() - before
    layers = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    weights = sum(weight.nbytes for weight in layers)
    return [Row("MiniLM: packs / weights", "×", Summary.of([packed / weights]), target=1.1)]


if __name__ == "__main__":
    _main(*sys.argv[1:])
