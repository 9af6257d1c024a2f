"""Floating buffers that are no part of a model's state dict: kept with a record, put back to
reproduce it.

They are computed where a model is built (RoPE's inverse frequencies, by ``pow``), and differ
between CPUs, so that a model loaded elsewhere is another one. Their digests stand in
structure.jsonl; their values stay in the log's private store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .leaves import flatten_arguments
from .statement.evidence import decode_evidence, encode_evidence, tensor_of

FILE = "constants.safetensors"


def constants_of(models: Iterable[tuple[str, Any]]) -> bytes | None:
    """The constants of models, each with the prefix of its names, as a file; None where there are
    none."""
    found = {name: tensor for name, _, _, tensor in _constants(models)}
    return encode_evidence(flatten_arguments(found, keep=True), None) if found else None


@contextmanager
def installed(data: bytes | None, models: Iterable[tuple[str, Any]]) -> Iterator[None]:
    """The models compute with the constants in ``data`` inside the block, and with their own
    afterwards. Those that ``data`` has in another shape or not at all stay as they are."""
    kept = {leaf.path: leaf for leaf in decode_evidence(data)["inputs"]} if data else {}
    replaced = []
    try:
        for name, owner, key, tensor in list(_constants(models)):
            leaf = kept.get(name)
            if leaf is None or tuple(leaf.shape) != tuple(tensor.shape):
                continue
            replaced.append((owner._buffers, key, tensor))
            owner._buffers[key] = tensor_of(leaf).to(tensor.device)
        yield
    finally:
        for table, key, tensor in replaced:
            table[key] = tensor


def _constants(models: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any, str, Any]]:
    """Name, owner, key and tensor of each."""
    for prefix, model in models:
        for path, module in model.named_modules():
            loose: Mapping[str, Any] = {
                key: module._buffers[key] for key in module._non_persistent_buffers_set
            }
            for key, tensor in sorted(loose.items()):
                if tensor is not None and tensor.is_floating_point():
                    yield ".".join(filter(None, (prefix, path, key))), module, key, tensor
