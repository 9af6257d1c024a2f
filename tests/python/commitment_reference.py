"""Commitments by the words of docs/formats.md, written once more: what tests compare with."""

from __future__ import annotations

from collections.abc import Sequence

import blake3
import numpy as np
import torch


def reference(name: str, shape: tuple[int, ...], data: bytes) -> tuple[str, str]:
    """(digest, data root) of an ordinary tensor, in hex, from its data bytes."""
    root = blake3.blake3(data).digest()
    header = bytes([len(name)]) + name.encode() + bytes([len(shape)])
    header += b"".join(size.to_bytes(8, "little") for size in shape)
    header += len(data).to_bytes(8, "little") + root
    digest = blake3.blake3(header, derive_key_context="torchnotary 2026-11 tensor v1")
    return digest.hexdigest(), root.hex()


def composite_reference(
    layout: str, name: str, shape: Sequence[int], components: Sequence[str]
) -> tuple[str, str]:
    """(digest, data root) of a composite tensor, in hex, from the digests of its components."""
    root = blake3.blake3(b"".join(map(bytes.fromhex, components))).digest()
    header = b"".join(bytes([len(text)]) + text.encode() for text in (layout, name))
    header += bytes([len(shape)]) + b"".join(size.to_bytes(8, "little") for size in shape)
    header += len(components).to_bytes(8, "little")
    digest = blake3.blake3(header + root, derive_key_context="torchnotary 2026-11 composite v1")
    return digest.hexdigest(), root.hex()


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def torch_bytes(tensor: torch.Tensor) -> bytes:
    """Row-major elements, through torch's own copying. Conjugate and negative views are resolved by
    their sign bits here: torch computes, which makes signalling NaNs quiet."""
    if tensor.numel() == 0:
        return b""
    plain, conj, neg = tensor.detach(), tensor.is_conj(), tensor.is_neg()
    plain = plain.conj() if conj else plain
    plain = torch._neg_view(plain) if neg else plain
    if not plain.is_complex() and plain.dtype is not torch.bool:
        plain = plain.view(_INTEGERS[plain.element_size()])  # torch cannot copy uint1 and the like
    copy = plain.clone(memory_format=torch.contiguous_format)
    data = copy.reshape(-1).view(torch.uint8).numpy().tobytes()
    return _with_signs(data, tensor, conj, neg) if conj or neg else data


def _with_signs(data: bytes, tensor: torch.Tensor, conj: bool, neg: bool) -> bytes:
    if not tensor.is_complex() and not tensor.is_floating_point():
        return (-np.frombuffer(data, f"<i{tensor.element_size()}")).tobytes()
    width = tensor.element_size() // (2 if tensor.is_complex() else 1)
    parts = np.frombuffer(data, f"<u{width}").copy()
    sign = parts.dtype.type(1 << (8 * width - 1))
    if neg:
        parts ^= sign
    if conj:
        parts[1::2] ^= sign
    return parts.tobytes()


def reference_of(tensor: torch.Tensor) -> str:
    """The digest of an ordinary tensor."""
    return reference(dtype_name(tensor.dtype), tuple(tensor.shape), torch_bytes(tensor))[0]


def random_bits(dtype: torch.dtype, shape: Sequence[int], seed: int = 0) -> torch.Tensor:
    """A tensor of any bits at all: NaNs, denormals and negative zeros among them."""
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if count == 0:
        return torch.empty(tuple(shape), dtype=dtype)
    data = np.frombuffer(np.random.default_rng(seed).bytes(count), np.uint8).copy()
    if dtype is torch.bool:
        data &= 1
    return torch.from_numpy(data).view(dtype).reshape(tuple(shape))
