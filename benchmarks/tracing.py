"""What traces cost: tracing alone, traces of modules and of operators, and the same in Python.

All contenders take turns in each round. A notary that traces stands in for
``nn.Module.__call__``, which is put back while the others are timed; the first call after that is
not timed, since Python has to look every method up again. *Hashing of the same bytes* hashes what
the operators made, kept from one call, with ``commit`` on as many threads. A recorded call's own
work is in the figures: its inputs, its outputs, and what the writer does of the calls before the
last of a block.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchnotary
from harness import Bench, Row, Summary, scaled, take_turns
from models import minilm, smollm2
from torchnotary.capture import tracing
from torchnotary.capture.models import ModelBook

_CALLS = 2
_ROUNDS = 24
_PLAIN_CALL = nn.Module.__call__
# Name to the function that makes model and inputs, and the share of rounds it is worth.
WORKLOADS: dict[str, tuple[Callable[[], tuple[nn.Module, dict[str, Any]]], int]] = {
    "MiniLM 16×64": (minilm, 1),
    "MiniLM 1×64": (lambda: minilm(1), 1),
    "SmolLM2 prefill 256": (smollm2, 3),
}
# Ours, against whom, and the most that it may take (None informs).
_RATIOS = [
    ("tracing alone", "plain", 1.01),
    ("modules", "plain", 1.02),
    ("operators", "plain and hashing", 1.05),
    ("operators", "plain", None),
    ("dispatch mode", "plain", None),
]
MEMORY_TARGET_MIB = 32.0
_FORWARDS = (2, 20)


def measure(bench: Bench) -> list[Row]:
    threads = torch.get_num_threads()
    rows: list[Row] = []
    try:
        for name, (make, cost) in WORKLOADS.items():
            model, inputs = make()
            contest = _Contest(bench, name, model, inputs)
            for number in sorted({1, threads}):
                torch.set_num_threads(number)
                rows += contest.rows(max(1, bench.rounds(_ROUNDS) // cost))
            rows += contest.sizes()
            contest.close()
    finally:
        torch.set_num_threads(threads)
    return rows + _memory()


class _Contest:
    """The contenders over one model and its inputs."""

    def __init__(self, bench: Bench, name: str, model: nn.Module, inputs: dict[str, Any]) -> None:
        self._name, self._model, self._inputs = name, model, inputs
        self._committed = ModelBook(False).committed({"model": model}, None)
        folder = bench.folder / f"log-{name.replace(' ', '-')}"
        self._notaries = {
            level: torchnotary.Notary(folder / level, trace=level) for level in tracing.LEVELS
        }
        recorded = {level: self._recorded(notary) for level, notary in self._notaries.items()}
        self._contenders: dict[str, Callable[[], Any]] = {
            "plain": self._forward,
            "plain and hashing": self._forward_and_hash,
            "tracing alone": lambda: self._trace(digests=False),
            **recorded,
            "dispatch mode": self._dispatch,
        }
        with torch.inference_mode():
            for call in recorded.values():
                call()
            self._traced_call = nn.Module.__call__
            self._made = self._outputs()

    def _recorded(self, notary: torchnotary.Notary) -> Callable[[], Any]:
        model, inputs = self._model, self._inputs
        call = notary.record(lambda **given: model(**given), model=model)
        return lambda: call(**inputs)

    def _forward(self) -> Any:
        return self._model(**self._inputs)

    def _forward_and_hash(self) -> None:
        self._forward()
        for tensor in self._made:
            torchnotary.commit(tensor)

    def _trace(self, **options: Any) -> tracing.Traced:
        trace = tracing.start("operators", self._committed, secret=bytes(32), **options)
        trace.begin_call(self._inputs)
        with trace.running():
            self._forward()
        return trace.finish()

    def _dispatch(self) -> None:
        with _Hashing():
            self._forward()

    def _outputs(self) -> list[torch.Tensor]:
        kept = self._trace(keep=True).kept
        return [kept.tensor(*place) for place in kept]

    def _prepare(self, contender: str) -> None:
        traces = contender in ("tracing alone", "modules", "operators")
        nn.Module.__call__ = self._traced_call if traces else _PLAIN_CALL
        self._contenders[contender]()
        self._settle()

    def _settle(self) -> None:
        for notary in self._notaries.values():
            notary.flush()

    def rows(self, rounds: int) -> list[Row]:
        with torch.inference_mode():
            times = take_turns(
                self._contenders,
                rounds,
                warmup=1,
                calls=_CALLS,
                prepare=self._prepare,
                settle=self._settle,
            )
        nn.Module.__call__ = self._traced_call
        count = torch.get_num_threads()
        where = f"{self._name}, {count} thread" + ("s" if count > 1 else "")
        rows = [Row(f"{where}: plain", "ms", scaled(times["plain"], 1e-6 / _CALLS))]
        for ours, peer, target in _RATIOS:
            ratios = [a / b for a, b in zip(times[ours], times[peer], strict=True)]
            rows.append(Row(f"{where}: {ours} / {peer}", "×", Summary.of(ratios), target))
        return rows

    def sizes(self) -> list[Row]:
        """Bytes that are hashed and written for a call."""
        trace = self._notaries["operators"].last.private.file("trace.jsonl")
        made = sum(tensor.nbytes for tensor in self._made)
        lines = trace.count(b"\n")
        return [
            Row(f"{self._name}: outputs hashed", "MB", Summary.of([made / 1e6])),
            Row(
                f"{self._name}: trace", "kB", Summary.of([len(trace) / 1e3]), note=f"{lines} lines"
            ),
        ]

    def close(self) -> None:
        missed = sum(notary.stats()["missed"] for notary in self._notaries.values())
        for notary in self._notaries.values():
            notary.close()
        if missed:
            raise AssertionError(f"{self._name}: {missed} calls were not recorded")


class _Hashing(TorchDispatchMode):
    """Commits to what operators made or changed; to views of what they were given, not again."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        values = result if isinstance(result, (list, tuple)) else (result,)
        if not any(x.alias_info and not x.alias_info.is_write for x in function._schema.returns):
            for value in values:
                if isinstance(value, torch.Tensor):
                    torchnotary.commit(value)
        return result


def _memory() -> list[Row]:
    """What a trace adds to the peak of a process's memory, each figure from two processes."""
    rows = []
    for forwards in _FORWARDS:
        peaks = {trace: _peak(trace, forwards) for trace in ("", "operators")}
        extra = (peaks["operators"] - peaks[""]) / 2**20
        figure = f"memory of tracing {forwards} × MiniLM 16×64 in one call"
        note = f"peak without a trace {peaks[''] / 2**20:,.0f} MiB"
        rows.append(Row(figure, "MiB", Summary.of([extra]), MEMORY_TARGET_MIB, note))
    return rows


def _peak(trace: str, forwards: int) -> int:
    script = Path(__file__).with_name("tracing_memory.py")
    command = [sys.executable, str(script), trace, str(forwards)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)
